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

/* skb->_nfct: the connection, and in its low bits enum ip_conntrack_info. */
#define INFO_MASK 7
#define CONNECTED 8
/* Above both: whether it has a socket, which sent it or is found to be the receiver already. */
#define SOCKETED 16

/* The part of an skb that holds all that is read of one at a hook point, read at one go: each read costs as much as this. */
struct glimpse {
	u64 words[SKB_WORDS];
};

#define MEMBER(whole, type, member) (*(type *)((char *)(whole).words + (member)))
#define OF(glimpse, type, member) MEMBER(glimpse, type, (member) - SKB_FIRST)

/* skb->sk lies too far from the rest: BPF's stack has 512 bytes. */
static __always_inline u8 connection(const struct glimpse *skb, u64 address)
{
	u64 nfct = HAS_CT ? OF(*skb, u64, SKB_CT) : 0, socket = 0;

	FETCH(socket, address + SKB_SK);
	return (nfct & INFO_MASK) | (nfct & ~(u64)INFO_MASK ? CONNECTED : 0) | (socket ? SOCKETED : 0);
}

/*
 * The connection of an skb now. @shape: as it was seen last, of which id and zone still hold if the entry is the same one
 */
static __always_inline void connect(struct shape *shape, const struct glimpse *skb, u64 address)
{
	u64 entry = HAS_CT ? OF(*skb, u64, SKB_CT) & ~(u64)INFO_MASK : 0;

	shape->ct = connection(skb, address);
	if (!HAS_CONN)
		return;
	if (entry != shape->entry) {
		shape->entry = entry;
		shape->zone = shape->ct_id = 0;
		if (entry) {
			u16 zone = 0;

			if (HAS_ZONE)
				FETCH(zone, entry + CONN_ZONE);
			shape->zone = zone;
			shape->ct_id = connection_id(entry);
		}
	}
	shape->status = 0;
	if (entry)
		FETCH(shape->status, entry + CONN_STATUS);
}

/* Where the network header begins, and how far behind data. That lies behind data on ingress and egress, where data is the link layer's. */
static __always_inline u64 headers(const struct glimpse *skb, u16 *behind)
{
	u64 data = OF(*skb, u64, SKB_DATA);
	u16 network = OF(*skb, u16, SKB_NETWORK_HEADER);
	u32 skip = OF(*skb, u64, SKB_HEAD) + network - data;

	*behind = network != 0xffff && skip < 256 ? skip : 0;
	return data + *behind;
}

static __always_inline u16 copied(const struct glimpse *skb)
{
	u32 linear = OF(*skb, u32, SKB_LEN) - OF(*skb, u32, SKB_DATA_LEN);

	return linear > 0xffff ? 0xffff : linear;
}

static __always_inline void look(struct shape *shape, const struct glimpse *skb, u64 address)
{
	u16 behind;

	shape->mark = OF(*skb, u32, SKB_MARK);
	connect(shape, skb, address);
	bpf_probe_read_kernel(shape->head, sizeof(shape->head), (void *)headers(skb, &behind));
}

/* Whether a hook has made something else of a packet; then what it is now is reported. The hook has not taken the packet away. */
static __always_inline void changed(struct frame *frame, u64 now)
{
	struct glimpse skb = {};
	struct shape shape = { .entry = frame->shape.entry, .ct_id = frame->shape.ct_id, .zone = frame->shape.zone };
	struct change_event *event;
	u64 differs, data;
	u16 behind = 0;
	int i;

	FETCH(skb, frame->skb + SKB_FIRST);
	look(&shape, &skb, frame->skb);
	differs = (shape.mark ^ frame->shape.mark) | (shape.ct ^ frame->shape.ct) | (shape.status ^ frame->shape.status) |
		  (shape.entry ^ frame->shape.entry);
#pragma unroll
	for (i = 0; i < SHAPE / 8; i++)
		differs |= shape.head[i] ^ frame->shape.head[i];
	if (!differs)
		return;
	frame->shape = shape;
	event = reserve_change_event();
	if (!event) {
		lose();
		return;
	}
	event->type = EV_CHANGE;
	event->ct = shape.ct;
	event->status = shape.status;
	event->ct_id = shape.ct_id;
	event->zone = shape.zone;
	event->mark = shape.mark;
	event->traversal = frame->traversal;
	event->len = OF(skb, u32, SKB_LEN);
	event->protocol = OF(skb, u16, SKB_PROTOCOL);
	data = headers(&skb, &behind);
	event->network = behind;
	event->copied = copied(&skb);
	bpf_probe_read_kernel(event->head, sizeof(event->head), (void *)data);
	event->time = now;
	submit(event);
}

static __always_inline void packet(struct entry_event *event, struct shape *shape, u64 address)
{
	u64 data, tail[COOKIE / 8] = {};
	struct glimpse skb = {};
	u32 data_len;
	u16 behind = 0;
	int has_tail = 0;

	FETCH(skb, address + SKB_FIRST);
	data_len = OF(skb, u32, SKB_DATA_LEN);
	event->len = OF(skb, u32, SKB_LEN);
	event->protocol = OF(skb, u16, SKB_PROTOCOL);
	event->mark = shape->mark = OF(skb, u32, SKB_MARK);
	connect(shape, &skb, address);
	event->ct = shape->ct;
	event->status = shape->status;
	event->ct_id = shape->ct_id;
	event->zone = shape->zone;
	data = headers(&skb, &behind);
	event->network = behind;
	event->copied = copied(&skb);
	bpf_probe_read_kernel(event->head, sizeof(event->head), (void *)data);
	data = OF(skb, u64, SKB_DATA);
	if (data_len)
		has_tail = far_tail(tail, OF(skb, u64, SKB_HEAD) + OF(skb, u32, SKB_END), data + event->len - data_len);
	else if (event->len >= COOKIE)
		has_tail = !bpf_probe_read_kernel(tail, sizeof(tail), (void *)(data + event->len - sizeof(tail)));
	if (has_tail) {
		__builtin_memcpy(event->tail, tail, sizeof(tail));
		event->flags |= HAS_TAIL;
	}
}

static __always_inline void circumstances(struct entry_event *event, u64 state)
{
	struct { u64 words[STATE_BYTES / sizeof(u64)]; } whole = {};
	u64 in, out;

	FETCH(whole, state);
	event->pf = MEMBER(whole, u8, STATE_PF);
	event->hook = MEMBER(whole, u8, STATE_HOOK);
	event->okfn = MEMBER(whole, u64, STATE_OKFN);
	in = MEMBER(whole, u64, STATE_IN);
	out = MEMBER(whole, u64, STATE_OUT);
	FETCH(event->netns, MEMBER(whole, u64, STATE_NET) + NET_INUM);
	event->in[0] = event->out[0] = 0;
	if (in)
		FETCH(event->in, in + DEV_NAME);
	if (out)
		FETCH(event->out, out + DEV_NAME);
}

/* Values of the table of skbs that a verdict loop has seen. */
#define ALIVE 1
#define MORPHING 2	/* its next release is none: it becomes the datagram that its fragment completes */

#define FREED 1
#define CONSUMED 2
#define RELEASED 3

static __always_inline int end(u64 skb, u8 how, u32 reason, u64 location)
{
	struct end_event *event;
	u8 *state = skbs.lookup(&skb);

	if (!state)
		return 0;
	if (how == RELEASED && *state == MORPHING) {
		*state = ALIVE;
		return 0;
	}
	skbs.delete(&skb);
	event = reserve_end_event();
	if (!event) {
		lose();
		return 0;
	}
	event->type = EV_END;
	event->how = how;
	event->reserved = 0;
	event->reason = reason;
	event->skb = skb;
	event->location = location;
	event->dev = 0;
	FETCH(event->dev, skb + SKB_DEV);
	event->time = bpf_ktime_get_ns();
	submit(event);
	return 0;
}

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
	u64 skb = ctx->RELEASE_SKB, stack = PT_REGS_SP(ctx) + RELEASE_DEPTH, location = 0;

	if (!skbs.lookup(&skb))
		return 0;
	FETCH(location, stack);
	/* __kfree_skb() frees all skbs: who called that tells why. */
	if (location - KFREE < KFREE_BYTES)
		FETCH(location, stack + sizeof(u64) + KFREE_DEPTH);
	return end(skb, RELEASED, 0, location);
}
