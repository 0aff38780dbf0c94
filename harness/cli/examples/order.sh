# Three base chains at one hook point: lower priorities first, of equal ones the newest; a drop ends the walk.
. ./network.sh

for table in first second third; do
    $router nft add table ip $table
    $router nft add chain ip $table forward '{ type filter hook forward priority 0; }'
done
$router nft add rule ip second forward udp dport 9 drop comment '"here it ends"'
$router nft add table inet early
$router nft add chain inet early forward '{ type filter hook forward priority -10; }'
echo hello | $client socat -u STDIN UDP4:10.0.2.2:9
echo hello | $client socat -u STDIN UDP4:10.0.2.2:10
