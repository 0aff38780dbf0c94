# A bridge with a filter: which frames it floods, which it forwards, which rule drops.
. ./network.sh

ip netns add switch
for port in 1 2 3; do
    ip netns add host$port
    ip netns exec host$port sysctl -q net.ipv6.conf.default.disable_ipv6=1
    ip link add eth0 netns host$port type veth peer name port$port netns switch
    ip -n host$port addr add 10.9.0.$port/24 dev eth0
    ip -n host$port link set eth0 up
done
ip netns exec switch sysctl -q net.ipv6.conf.default.disable_ipv6=1
ip -n switch link add br0 type bridge mcast_snooping 0
for port in 1 2 3; do ip -n switch link set port$port master br0 up; done
ip -n switch link set br0 up
for port in 1 2 3; do
    timeout 30 sh -c 'until ip -n $0 link show eth0 | grep -q "state UP"; do sleep 0.1; done' host$port
done
ip netns exec switch nft -f - <<'RULES'
table bridge filter {
    chain forward {
        type filter hook forward priority filter
        ether type ip udp dport 9 oifname "port3" drop comment "not to the third"
    }
}
RULES
for to in 2 3; do echo hello | ip netns exec host1 socat -u STDIN UDP4:10.9.0.$to:9; done
sleep 1
