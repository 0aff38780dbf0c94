# client (10.0.1.2) - router - server (10.0.2.2)
set -e
for name in client router server; do
    ip netns add $name
    ip netns exec $name sysctl -q net.ipv6.conf.default.disable_ipv6=1
    ip -n $name link set lo up
done
ip link add eth0 netns client type veth peer name to-client netns router
ip link add eth0 netns server type veth peer name to-server netns router
ip -n client addr add 10.0.1.2/24 dev eth0
ip -n router addr add 10.0.1.1/24 dev to-client
ip -n router addr add 10.0.2.1/24 dev to-server
ip -n server addr add 10.0.2.2/24 dev eth0
for one in "client eth0" "router to-client" "router to-server" "server eth0"; do set -- $one; ip -n $1 link set $2 up; done
for one in "client eth0" "router to-client" "router to-server" "server eth0"; do
    set -- $one
    timeout 30 sh -c 'until ip -n $0 link show $1 | grep -q "state UP"; do sleep 0.1; done' $1 $2  # a carrier is noticed within a second
done
ip -n client route add default via 10.0.1.1
ip -n server route add default via 10.0.2.1
ip netns exec router sysctl -q net.ipv4.ip_forward=1
client="ip netns exec client" router="ip netns exec router" server="ip netns exec server"
