/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nf_reinject(): the rest of a packet's way through a hook point, once a listener has answered. It calls hooks itself, in two places of
 * its own (the hook that queued, if the listener says REPEAT; those behind it in nf_iterate()), and okfn.
 *
 * The probes are before and after every indirect call, and the arguments tell what is called: a hook gets the entry's skb and state
 * second and third, okfn the state's net first and the skb third. Which slot is called is counted from the queue entry's, as in
 * inlined.bpf.c. The function returns nothing: 1 is reported if it called okfn, else 0.
 *
 * Who calls it tells whether a listener has answered: nfqnl_recv_verdict() and its batches, or the kernel in its place, nfqnl_flush() and
 * __nfqnl_enqueue_packet() of a full queue. nfqnl_reinject(), between them, jumps to it.
 *
 * tracer.py makes the programs.
 */

#define REPEAT 4
#define PF_IPV6 10
#define PF_BRIDGE 7

/* void nf_reinject(struct nf_queue_entry *entry, unsigned int verdict) */
static __always_inline int reinject_begin(struct pt_regs *ctx, u16 loop, u64 at_skb, u64 at_state, u64 at_index, u64 ipv4, u64 ipv6,
					  u64 bridge)
{
	u64 key = PT_REGS_SP(ctx), entry = PT_REGS_PARM1(ctx), state = entry + at_state, skb = 0, net = 0, caller = 0;
	struct frame *frame, *under;
	u32 verdict = PT_REGS_PARM2(ctx);
	u8 pf = 0, hook = 0;

	if (setting(PHASE) == OFF)
		return 0;
	frame = drafted();
	if (!frame)
		return 0;
	FETCH(caller, key);
	FETCH(skb, entry + at_skb);
	FETCH(frame->index, entry + at_index);
	FETCH(net, state + STATE_NET);
	FETCH(pf, state + STATE_PF);
	FETCH(hook, state + STATE_HOOK);
	FETCH(frame->entries, net + (pf == PF_BRIDGE ? bridge : pf == PF_IPV6 ? ipv6 : ipv4) + hook * sizeof(u64));
	frame->skb = skb;
	frame->state = state;
	frame->answer = verdict;
	enter(key, frame, skb, state, caller, loop);
	under = frames.lookup(&key);
	if (under && verdict != REPEAT)
		under->index++;
	return 0;
}

static __always_inline int reinject_before(struct pt_regs *ctx, u64 key)
{
	struct frame *frame = under_way(key);
	u64 net = 0;

	if (!frame)
		return 0;
	FETCH(net, frame->state + STATE_NET);
	if (PT_REGS_PARM3(ctx) == frame->skb && PT_REGS_PARM1(ctx) == net) {
		frame->accepted = 1;
	} else if (PT_REGS_PARM2(ctx) == frame->skb && PT_REGS_PARM3(ctx) == frame->state) {
		call_begins(frame, PT_REGS_PARM1(ctx));
	}
	return 0;
}

static __always_inline int reinject_call(struct pt_regs *ctx, u64 key)
{
	u64 now = bpf_ktime_get_ns();
	struct frame *frame = under_way(key);
	u32 verdict = PT_REGS_RC(ctx);

	if (!frame || !frame->in_hook)
		return 0;
	frame->in_hook = 0;
	called(frame, verdict, now);
	/* nf_iterate() calls the same hook again. */
	if (verdict == REPEAT)
		frame->index--;
	return 0;
}

static __always_inline int reinject_end(u64 key)
{
	struct frame *frame = under_way(key);

	return frame ? leave(key, frame, frame->accepted) : 0;
}
