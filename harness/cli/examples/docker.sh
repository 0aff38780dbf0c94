# The shape of Docker's rules: a published port, a chain for the administrator's own rules, isolation of bridges.
. ./network.sh

$router nft -f - <<'RULES'
table ip nat {
    chain DOCKER {
        iifname "to-server" return
        tcp dport 8080 dnat to 10.0.2.2:80
    }
    chain PREROUTING {
        type nat hook prerouting priority dstnat
        fib daddr type local jump DOCKER
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat
        ip saddr 10.0.2.0/24 oifname != "to-server" masquerade
    }
}
table ip filter {
    chain DOCKER-USER {
        ip saddr 10.0.1.66 drop comment "banned"
        return
    }
    chain DOCKER {
        ip daddr 10.0.2.2 iifname != "to-server" oifname "to-server" tcp dport 80 accept
    }
    chain FORWARD {
        type filter hook forward priority filter; policy drop
        jump DOCKER-USER
        oifname "to-server" ct state related,established accept
        oifname "to-server" jump DOCKER
        iifname "to-server" accept
    }
}
RULES
ip -n client addr add 10.0.1.66/24 dev eth0
$server socat TCP4-LISTEN:80,fork SYSTEM:'echo hello' &
sleep 1
$client socat -u TCP4:10.0.1.1:8080 STDOUT
$client socat -u TCP4:10.0.1.1:8080,bind=10.0.1.66,connect-timeout=1 STDOUT || echo "banned"
kill $!
