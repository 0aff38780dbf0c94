# A queue that nobody listens to: without "bypass" the packet is dropped, with it the next rule decides.
. ./network.sh

$router nft -f - <<'RULES'
table inet filter {
    chain forward {
        type filter hook forward priority filter
        udp dport 9 queue to 1
        udp dport 10 queue flags bypass to 2
    }
}
RULES
echo hello | $client socat -u STDIN UDP4:10.0.2.2:9
echo hello | $client socat -u STDIN UDP4:10.0.2.2:10
