# The shape of kube-proxy's nftables mode: a service address that a map leads to an endpoint, and one without endpoints.
. ./network.sh

$router nft -f - <<'RULES'
table ip kube-proxy {
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 172.30.0.41 . tcp . 80 : goto service-web }
    }
    map no-endpoint-services {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 172.30.0.42 . tcp . 80 : goto reject-chain }
    }
    chain reject-chain {
        reject
    }
    chain endpoint-web {
        meta l4proto tcp dnat to 10.0.2.2:80
    }
    chain service-web {
        numgen random mod 1 vmap { 0 : goto endpoint-web }
    }
    chain services {
        ip daddr . meta l4proto . th dport vmap @service-ips
    }
    chain nat-prerouting {
        type nat hook prerouting priority dstnat
        jump services
    }
    chain filter-prerouting {
        type filter hook prerouting priority dstnat - 10
        ct state new ip daddr . meta l4proto . th dport vmap @no-endpoint-services
    }
}
RULES
$server socat TCP4-LISTEN:80,fork SYSTEM:'echo hello' &
sleep 1
$client socat -u TCP4:172.30.0.41:80 STDOUT
$client socat -u TCP4:172.30.0.42:80 STDOUT || echo "no endpoint"
kill $!
