/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an skb and a hook's state say of themselves, and the end of every skb that a verdict loop saw.
 */

/* page_address() of a page that an skb holds, and the offset in it; 0 for what is no page of the kernel's own. */
static __always_inline u64 page_data(u64 frag, u32 *len)
{
	u64 page = 0;
	u32 offset = 0;

	FETCH(page, frag + FRAG_PAGE);
	FETCH(*len, frag + FRAG_LEN);
	FETCH(offset, frag + FRAG_OFFSET);
	return page & 1 ? 0 : (page - VMEMMAP) / PAGE_STRUCT * PAGE_BYTES + DIRECT_MAP + offset;
}

/* The end of the last skb of a list; 0 if that is not linear. */
static __always_inline u64 list_end(u64 skb)
{
	u64 next = 0, data = 0;
	u32 len = 0, data_len = 0;
	int i;

#pragma unroll
	for (i = 0; i < LIST_MAX; i++) {
		FETCH(next, skb + SKB_NEXT);
		if (!next)
			break;
		skb = next;
	}
	FETCH(data, skb + SKB_DATA);
	FETCH(len, skb + SKB_LEN);
	FETCH(data_len, skb + SKB_DATA_LEN);
	return next || data_len || len < COOKIE ? 0 : data + len;
}

/*
 * COOKIE bytes that lie across two places: all but @len of them at the end of the first one, @len of them at the start of the second.
 * Little endian.
 */
static __always_inline int across(u64 *tail, u64 first_end, u64 second, u32 len)
{
	u64 first[2] = {}, rest[2] = {};
	u32 bits = len * 8 & 127;

	if (bpf_probe_read_kernel(first, sizeof(first), (void *)(first_end - COOKIE)) ||
	    bpf_probe_read_kernel(rest, sizeof(rest), (void *)second))
		return 0;
	if (bits < 64) {
		tail[0] = first[0] >> bits | first[1] << (64 - bits);
		tail[1] = first[1] >> bits | rest[0] << (64 - bits);
	} else if (bits == 64) {
		tail[0] = first[1];
		tail[1] = rest[0];
	} else {
		bits -= 64;
		tail[0] = first[1] >> bits | rest[0] << (64 - bits);
		tail[1] = rest[0] >> bits | rest[1] << (64 - bits);
	}
	return 1;
}

/*
 * The last bytes of an skb that is not linear: in the last skb of its list, in its last page, or in that and in what is before it.
 * @linear_end: where its linear part ends
 */
static __always_inline int far_tail(u64 *tail, u64 shared, u64 linear_end)
{
	u64 skb = 0, at, before;
	u32 len = 0, before_len = 0;
	u8 pages = 0;

	FETCH(skb, shared + SHARED_FRAG_LIST);
	if (skb) {
		at = list_end(skb);
		return at && !bpf_probe_read_kernel(tail, COOKIE, (void *)(at - COOKIE));
	}
	FETCH(pages, shared + SHARED_NR_FRAGS);
	if (!pages)
		return 0;
	shared += SHARED_FRAGS + (pages - 1) * FRAG_SIZE;
	at = page_data(shared, &len);
	if (!at || !len)
		return 0;
	if (len >= COOKIE)
		return !bpf_probe_read_kernel(tail, COOKIE, (void *)(at + len - COOKIE));
	if (pages == 1)
		return across(tail, linear_end, at, len);
	before = page_data(shared - FRAG_SIZE, &before_len);
	return before && before_len >= COOKIE && across(tail, before + before_len, at, len);
}

static __always_inline void packet(struct entry_event *event, u64 skb)
{
	u64 head = 0, data = 0, tail[COOKIE / 8] = {};
	u32 data_len = 0, end = 0, skip;
	u16 network = 0;
	int has_tail = 0;

	FETCH(head, skb + SKB_HEAD);
	FETCH(data, skb + SKB_DATA);
	FETCH(data_len, skb + SKB_DATA_LEN);
	FETCH(event->len, skb + SKB_LEN);
	FETCH(network, skb + SKB_NETWORK_HEADER);
	FETCH(event->protocol, skb + SKB_PROTOCOL);
	/* The network header lies behind data on ingress and egress, where data is the link layer's. */
	skip = head + network - data;
	event->network = network != 0xffff && skip < 256 ? skip : 0;
	event->copied = event->len - data_len > 0xffff ? 0xffff : event->len - data_len;
	bpf_probe_read_kernel(event->head, sizeof(event->head), (void *)(data + event->network));
	if (data_len) {
		FETCH(end, skb + SKB_END);
		has_tail = far_tail(tail, head + end, data + event->len - data_len);
	} else if (event->len >= COOKIE) {
		has_tail = !bpf_probe_read_kernel(tail, sizeof(tail), (void *)(data + event->len - sizeof(tail)));
	}
	if (has_tail) {
		__builtin_memcpy(event->tail, tail, sizeof(tail));
		event->flags |= HAS_TAIL;
	}
}

static __always_inline void circumstances(struct entry_event *event, u64 state)
{
	u64 in = 0, out = 0, net = 0;

	FETCH(event->pf, state + STATE_PF);
	FETCH(event->hook, state + STATE_HOOK);
	FETCH(in, state + STATE_IN);
	FETCH(out, state + STATE_OUT);
	FETCH(net, state + STATE_NET);
	FETCH(event->okfn, state + STATE_OKFN);
	FETCH(event->netns, net + NET_INUM);
	event->in[0] = event->out[0] = 0;
	if (in)
		FETCH(event->in, in + DEV_NAME);
	if (out)
		FETCH(event->out, out + DEV_NAME);
}

static __always_inline int end(u64 skb, u8 how, u32 reason, u64 location)
{
	struct end_event *event;

	if (!skbs.lookup(&skb))
		return 0;
	skbs.delete(&skb);
	event = reserve_end_event();
	if (!event) {
		count(N_LOST);
		return 0;
	}
	event->type = EV_END;
	event->how = how;
	event->reserved = 0;
	event->reason = reason;
	event->skb = skb;
	event->location = location;
	event->time = bpf_ktime_get_ns();
	events0.ringbuf_submit(event, 0);
	return 0;
}

#define FREED 1
#define CONSUMED 2
#define RELEASED 3

int probe_kfree_skb(struct bpf_raw_tracepoint_args *ctx)
{
	return end(ctx->args[0], FREED, KFREE_HAS_REASON ? ctx->args[KFREE_HAS_REASON * 2] : 0, ctx->args[1]);
}

int probe_consume_skb(struct bpf_raw_tracepoint_args *ctx)
{
	return end(ctx->args[0], CONSUMED, 0, CONSUME_HAS_LOCATION ? ctx->args[CONSUME_HAS_LOCATION] : 0);
}

/*
 * skb_release_head_state(): the last stop of every skb. Those that TCP eats or that are merged into another one pass no tracepoint,
 * and their address would later join two packets into one.
 */
int probe_release(struct pt_regs *ctx)
{
	return end(PT_REGS_PARM1(ctx), RELEASED, 0, 0);
}
