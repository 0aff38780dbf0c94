# A flowtable: packets of a known connection leave by the fast path, and later hooks do not see them.
. ./network.sh

$router nft -f - <<'RULES'
table inet filter {
    flowtable fast {
        hook ingress priority filter
        devices = { to-client, to-server }
    }
    chain forward {
        type filter hook forward priority filter
        ct state established flow add @fast
    }
}
RULES
$server socat UDP4-LISTEN:9,fork EXEC:cat &
sleep 1
(for n in 1 2 3 4; do echo $n; sleep 0.2; done) | $client socat -t1 - UDP4:10.0.2.2:9
kill $!
