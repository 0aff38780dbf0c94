# A rule that sends a copy elsewhere: the copy stands under the packet that it was made of.
. ./network.sh

$router nft 'add table ip mirror; add chain ip mirror pre { type filter hook prerouting priority -150; }; add rule ip mirror pre udp dport 9 dup to 10.0.1.2 device "to-client"'
echo hello | $client socat -u STDIN UDP4:10.0.2.2:9
