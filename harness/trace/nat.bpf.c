/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nf_nat_inet_fn(): NAT has one hook at each point, which calls the hooks of all nat chains in its own loop, over an array of its
 * own, until one of them has bound the connection.
 *
 * Most packets belong to a connection that is bound already: for them the loop does not run, and nothing is reported. The
 * array is behind the function's first argument (the first member of struct nf_nat_lookup_hook_priv); that each slot's priv is the one in
 * the register shows that it is the one that is walked. What the function returns is its caller's to report.
 *
 * tracer.py makes the programs.
 */

/* unsigned int nf_nat_inet_fn(void *priv, struct sk_buff *skb, const struct nf_hook_state *state) */
static __always_inline int nat_begin(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), phase = setting(PHASE);
	struct frame frame = {
		.task = bpf_get_current_task(),
		.skb = PT_REGS_PARM2(ctx),
		.state = PT_REGS_PARM3(ctx),
		.unseen = phase == STARTING,
	};

	if (phase == OFF)
		return 0;
	FETCH(frame.entries, PT_REGS_PARM1(ctx));
	if (frames.update(&key, &frame))
		count(N_FRAMES_FULL);
	return 0;
}

/* The first hook is about to be called. The packet is the one of the traversal around it, which has told of it. */
static __always_inline void nat_enter(struct frame *frame, u16 loop)
{
	struct entry_event *event;
	struct glimpse skb = {};
	u16 slots = 0;

	frame->begun = 1;
	frame->traversal = number();
	FETCH(slots, frame->entries + ENTRIES_NUM);
	frame->slots = slots;
	event = reserve_entry_event();
	if (!event) {
		frame->traversal = 0;
		lose();
		return;
	}
	event->type = EV_ENTRY;
	event->flags = 0;
	event->traversal = frame->traversal;
	event->skb = frame->skb;
	event->start = 0;
	event->slots = slots;
	event->loop = loop;
	event->caller = 0;
	event->answer = event->len = 0;
	event->protocol = event->network = event->copied = 0;
	event->mark = event->ct = 0;
	event->entries = frame->entries;
	event->zone = event->status = event->ct_id = 0;
	circumstances(event, frame->state);
	FETCH(skb, frame->skb + SKB_FIRST);
	look(&frame->shape, &skb, frame->skb);
	event->time = bpf_ktime_get_ns();
	submit(event);
}

static __always_inline int nat_before(struct pt_regs *ctx, u64 key, u16 loop)
{
	struct frame *under = under_way(key);

	if (!under || under->unseen || under->skb != PT_REGS_PARM2(ctx) || under->state != PT_REGS_PARM3(ctx))
		return 0;
	if (!under->begun)
		nat_enter(under, loop);
	call_begins(under, PT_REGS_PARM1(ctx));
	return 0;
}

static __always_inline int nat_call(struct pt_regs *ctx, u64 key)
{
	u64 now = bpf_ktime_get_ns();
	struct frame *frame = under_way(key);

	if (!frame || !frame->in_hook)
		return 0;
	frame->in_hook = 0;
	return called(frame, PT_REGS_RC(ctx), now);
}

static __always_inline int nat_end(u64 key)
{
	struct frame *frame = under_way(key);

	if (!frame)
		return 0;
	if (frame->begun)
		return leave(key, frame, 0);
	frames.delete(&key);
	return 0;
}
