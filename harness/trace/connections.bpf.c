/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The id of a connection, as conntrack shows it. The kernel keeps none: it hashes what does not change of an entry with a secret key.
 */

#define ROTATED(value, bits) ((value) << (bits) | (value) >> (64 - (bits)))
#define TUPLE_WORDS 5

struct hash {
	u64 v0, v1, v2, v3;
};

/* SIPROUND of lib/siphash.c. */
static __always_inline void hash_round(struct hash *hash)
{
	hash->v0 += hash->v1;
	hash->v1 = ROTATED(hash->v1, 13) ^ hash->v0;
	hash->v0 = ROTATED(hash->v0, 32);
	hash->v2 += hash->v3;
	hash->v3 = ROTATED(hash->v3, 16) ^ hash->v2;
	hash->v0 += hash->v3;
	hash->v3 = ROTATED(hash->v3, 21) ^ hash->v0;
	hash->v2 += hash->v1;
	hash->v1 = ROTATED(hash->v1, 17) ^ hash->v2;
	hash->v2 = ROTATED(hash->v2, 32);
}

/* siphash() of whole words; siphash_4u64() is the same. The last of them is their length. */
static __always_inline u64 siphash(const u64 *key, u64 *words, u32 count)
{
	struct hash hash = { 0x736f6d6570736575ULL ^ key[0], 0x646f72616e646f6dULL ^ key[1],
			     0x6c7967656e657261ULL ^ key[0], 0x7465646279746573ULL ^ key[1] };
	u32 i;

#pragma unroll
	for (i = 0; i < count; i++) {
		hash.v3 ^= words[i];
		hash_round(&hash);
		hash_round(&hash);
		hash.v0 ^= words[i];
	}
	hash.v2 ^= 0xff;
	hash_round(&hash);
	hash_round(&hash);
	hash_round(&hash);
	hash_round(&hash);
	return hash.v0 ^ hash.v1 ^ hash.v2 ^ hash.v3;
}

/*
 * nf_ct_get_id(): a keyed hash of the entry, its master, its namespace and its original tuple; in network order, as ctnetlink_dump_id() has
 * it. 0 where there is no key, as nobody has asked for an id yet.
 */
static __always_inline u32 connection_id(u64 entry)
{
	u64 where = setting(CT_ID_KEY), key[2] = {}, words[TUPLE_WORDS + 1] = {};

	if (!where || FETCH(key, where) || !(key[0] | key[1]) ||
	    bpf_probe_read_kernel(words, TUPLE_WORDS * sizeof(u64), (void *)(entry + CONN_TUPLE)))
		return 0;
	words[TUPLE_WORDS] = (u64)(TUPLE_WORDS * sizeof(u64)) << 56;
	words[3] = siphash(key, words, TUPLE_WORDS + 1);
	words[0] = entry;
	FETCH(words[1], entry + CONN_MASTER);
	FETCH(words[2], entry + CONN_NET);
	words[4] = 4 * sizeof(u64) << 56;
	return __builtin_bswap32(siphash(key, words, 5));
}

