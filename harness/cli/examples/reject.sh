# Two refusals and their answers: an ICMP error and a TCP reset, each under the packet that it answers.
. ./network.sh

$router nft -f - <<'RULES'
table inet filter {
    chain forward {
        type filter hook forward priority filter
        udp dport 53 reject with icmpx admin-prohibited comment "no DNS"
        tcp dport 25 reject with tcp reset comment "no mail"
    }
}
RULES
echo query | $client socat -u STDIN UDP4:10.0.2.2:53 || true
$client socat -u TCP4:10.0.2.2:25 STDOUT || true
