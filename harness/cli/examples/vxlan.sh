# A VXLAN tunnel: the inner packet, the outer one, and the inner one again.
. ./network.sh

ip -n client link add vx7 type vxlan id 7 dstport 4789 local 10.0.1.2 remote 10.0.2.2 dev eth0
ip -n server link add vx7 type vxlan id 7 dstport 4789 local 10.0.2.2 remote 10.0.1.2 dev eth0
ip -n client addr add 10.7.0.1/24 dev vx7
ip -n server addr add 10.7.0.2/24 dev vx7
ip -n client link set vx7 up
ip -n server link set vx7 up
$router nft 'add table ip filter; add chain ip filter forward { type filter hook forward priority 0; policy drop; }; add rule ip filter forward udp dport 4789 accept'
$server nft 'add table ip filter; add chain ip filter input { type filter hook input priority 0; }'
$client ping -c1 -W2 10.7.0.2
