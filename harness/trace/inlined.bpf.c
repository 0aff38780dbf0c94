/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A verdict loop that the compiler put into the function that calls it: nf_hook_bridge_pre() in br_handle_frame().
 *
 * It has no entry and no exit. Its run begins on an indirect call where the arguments are those of a hook function
 * (priv, skb, state), the state in the function's own stack frame (an indirect call of something else has none there), and ends where the function calls okfn, or else where it returns. The run is known by the stack address of the
 * function's return address, as one of nf_hook_slow() is. Which slot is called is counted from the first; that the slot's priv is the
 * one in the register shows that the count is right.
 *
 * tracer.py makes the programs, one for each place of each loop.
 */

static __always_inline int inlined_before(struct pt_regs *ctx, u64 key, u16 loop, u64 heads)
{
	u64 skb = PT_REGS_PARM2(ctx), state = PT_REGS_PARM3(ctx), phase = setting(PHASE), net = 0, priv = 0;
	struct frame *under = frames.lookup(&key), *frame;
	u8 hook = 0;

	if (state < PT_REGS_SP(ctx) || state >= key)
		return 0;
	/* One of another task, or in a hook: its return was missed. */
	if (under && (under->task != bpf_get_current_task() || under->in_hook)) {
		count(N_STALE);
		frames.delete(&key);
		under = 0;
	}
	if (!under) {
		if (phase == OFF)
			return 0;
		frame = drafted();
		if (!frame)
			return 0;
		frame->skb = skb;
		if (phase == STARTING) {
			frame->unseen = 1;
			if (frames.update(&key, frame))
				count(N_FRAMES_FULL);
			return 0;
		}
		FETCH(net, state + STATE_NET);
		FETCH(hook, state + STATE_HOOK);
		FETCH(frame->entries, net + heads + hook * sizeof(u64));
		enter(key, frame, skb, state, 0, loop);
		under = frames.lookup(&key);
		if (!under)
			return 0;
	}
	if (under->unseen)
		return 0;
	call_begins(under, PT_REGS_PARM1(ctx));
	return 0;
}

/* sole: hooks are all that the function calls indirectly, so that a return without a run under way is one whose call was missed. */
static __always_inline int inlined_call(struct pt_regs *ctx, u64 key, int sole)
{
	u64 now = bpf_ktime_get_ns();
	struct frame *frame = sole ? under_way(key) : frames.lookup(&key);

	if (!frame || (!sole && (!frame->in_hook || frame->task != bpf_get_current_task())))
		return 0;
	frame->in_hook = 0;
	return called(frame, PT_REGS_RC(ctx), now);
}

/* Without a hook the function comes here too: no run of the loop, and none that was missed. */
static __always_inline int inlined_end(u64 key, s32 returned)
{
	struct frame *frame = frames.lookup(&key);

	return frame && frame->task == bpf_get_current_task() ? leave(key, frame, returned) : 0;
}
