# What no rule dropped: no route, no socket, the reverse path filter. The stack says which.
. ./network.sh

$router sysctl -q net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.to-client.rp_filter=1
$router nft 'add table ip watch; add chain ip watch pre { type filter hook prerouting priority 0; }'
ip -n client addr add 192.0.2.7/32 dev lo
echo nowhere | $client socat -u STDIN UDP4:198.51.100.1:9
echo nobody | $client socat -u STDIN UDP4:10.0.1.1:9
echo spoofed | $client socat -u STDIN UDP4:10.0.2.2:9,bind=192.0.2.7
