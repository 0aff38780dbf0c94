# A datagram in fragments: connection tracking puts them together at PREROUTING, and one datagram goes on.
. ./network.sh

$router nft 'add table ip watch; add chain ip watch forward { type filter hook forward priority 0; }; add rule ip watch forward ct state new accept'
head -c 3000 /dev/zero | $client socat -u -b 4000 STDIN UDP4:10.0.2.2:9
