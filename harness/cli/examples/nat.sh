# Destination NAT and masquerading: what the packet is at each hook point, and which rules translated it.
. ./network.sh

$router nft -f - <<'RULES'
table ip nat {
    chain pre {
        type nat hook prerouting priority dstnat
        tcp dport 8080 dnat to 10.0.2.2:80 comment "web server"
    }
    chain post {
        type nat hook postrouting priority srcnat
        oifname "to-server" masquerade
    }
}
table ip filter {
    chain forward {
        type filter hook forward priority filter; policy drop
        ct state established,related accept
        tcp dport 80 accept comment "the port behind NAT"
    }
}
RULES
$server socat TCP4-LISTEN:80,fork SYSTEM:'echo hello' &
sleep 1
$client socat -u TCP4:10.0.1.1:8080 STDOUT
kill $!
