/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every call that nf_hook_slow() makes. Loops that the compiler put into another function have their probes in inlined.bpf.c.
 *
 * A traversal is known by the stack address of its return address: no two traversals under way share one, however deep they nest (a
 * veth pair delivers inside sendto()), whatever softirq interrupts them and wherever a preempted task goes on. The three probes
 * compute it from the stack pointer, so one that was missed cannot shift the meaning of the others.
 */

/* A run of a loop begins. */
static __always_inline void enter(u64 key, struct frame *frame, u64 skb, u64 state, u64 caller, u16 loop)
{
	struct entry_event *event;
	u16 slots = 0;
	u8 seen = 1;

	frame->traversal = number();
	FETCH(slots, frame->entries + ENTRIES_NUM);
	frame->slots = slots;
	if (frames.lookup(&key))
		count(N_STALE);
	if (skbs.update(&skb, &seen))
		count(N_SKBS_FULL);
	event = reserve_entry_event();
	if (event) {
		event->type = EV_ENTRY;
		event->flags = 0;
		event->traversal = frame->traversal;
		event->skb = skb;
		event->start = frame->index;
		event->slots = slots;
		event->loop = loop;
		event->caller = caller;
		event->answer = frame->answer;
		event->entries = frame->entries;
		circumstances(event, state);
		packet(event, &frame->shape, skb);
		__builtin_memcpy(frame->shape.head, event->head, sizeof(frame->shape.head));
		event->time = bpf_ktime_get_ns();
		submit(event);
	} else {
		frame->traversal = 0;
		lose();
	}
	frame->skb = skb;
	set_aside(key, frame, skb);
	frame->since = bpf_ktime_get_ns();
	if (frames.update(&key, frame))
		count(N_FRAMES_FULL);
}

/* int nf_hook_slow(struct sk_buff *skb, struct nf_hook_state *state, const struct nf_hook_entries *e, unsigned int s) */
int probe_entry(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx) + ENTRY_DEPTH, caller = 0;
	struct frame *frame;

	runs(RAN_ENTRY);
	if (setting(PHASE) == OFF)
		return 0;
	frame = drafted();
	if (!frame)
		return 0;
	frame->entries = ctx->ENTRY_ARRAY;
	frame->index = ctx->ENTRY_INDEX;
	FETCH(caller, key);
	enter(key, frame, ctx->ENTRY_SKB, ctx->ENTRY_STATE, caller, 0);
	return 0;
}

static __always_inline struct frame *under_way(u64 key)
{
	struct frame *frame = frames.lookup(&key);

	/* Another task's frame at this address was left behind by an exit that was missed. */
	if (frame && frame->task == bpf_get_current_task())
		return frame;
	if (setting(PHASE) == ON)
		count(N_UNMATCHED);
	return 0;
}

/* Before an indirect call: whether its first argument is the slot's says if the frame's index is right. */
static __always_inline void call_begins(struct frame *frame, u64 argument)
{
	u64 priv = 0;

	FETCH(priv, frame->entries + ENTRIES_HOOKS + frame->index * ENTRY_SIZE + ENTRY_PRIV);
	if (priv != argument)
		count(N_MOVED);
	frame->in_hook = 1;
	frame->since = bpf_ktime_get_ns();
}

/* NF_VERDICT_MASK and NF_STOLEN: a hook that has stolen a packet may have freed it. */
#define VERDICT_MASK 0xff
#define STOLEN 2

/* Base chains can be deleted any time: their names are read while one runs (chains.py). */
static __always_inline void name_chain(struct name *name, u64 chain)
{
	u64 table = 0, text = 0;

	name->family = 0;
	name->handle = 0;
	name->table[0] = name->chain[0] = 0;
	FETCH(text, chain + CHAIN_NAME);
	bpf_probe_read_kernel_str(name->chain, sizeof(name->chain), (void *)text);
	FETCH(table, chain + CHAIN_TABLE);
	FETCH(name->family, table + TABLE_FAMILY);
	FETCH(name->handle, table + TABLE_HANDLE);
	FETCH(text, table + TABLE_NAME);
	bpf_probe_read_kernel_str(name->table, sizeof(name->table), (void *)text);
}

/* Behind the indirect call: the hook at frame->index has returned. */
static __always_inline int called(struct frame *frame, u32 verdict, u64 now)
{
	u64 slot, ops = 0;
	struct { u64 words[ENTRY_SIZE / sizeof(u64)]; } entry = {};
	struct { u64 function, priv; } hook;
	struct chain_event *chain = 0;
	struct call_event *event;

	if (frame->unseen) {
		decisions.delete(&frame->skb);
		table_rules.delete(&frame->skb);
		return 0;
	}
	count(N_CALLS);
	if (!frame->traversal) {
		lose();
		return 0;
	}
	slot = frame->entries + ENTRIES_HOOKS;
	FETCH(entry, slot + frame->index * ENTRY_SIZE);
	hook.function = entry.words[ENTRY_HOOK / sizeof(u64)];
	hook.priv = entry.words[ENTRY_PRIV / sizeof(u64)];
	if (HAS_CHAINS && chained.lookup(&hook.function)) {
		chain = reserve_chain_event();
		event = chain ? &chain->call : 0;
	} else {
		event = reserve_call_event();
	}
	if (!event) {
		lose();
		goto out;
	}
	event->type = chain ? EV_CHAIN_CALL : EV_CALL;
	event->flags = 0;
	event->index = frame->index;
	event->verdict = verdict;
	event->traversal = frame->traversal;
	event->ns = now - frame->since > 0xffffffff ? 0xffffffff : now - frame->since;
	event->time = now;
	event->function = hook.function;
	event->priv = hook.priv;
	event->id = 0;
	event->priority = 0;
	if (hook.function == setting(OWN_HOOK) && !FETCH(event->id, hook.priv))
		event->flags |= HAS_ID;
	/* nf_hook_entries_get_hook_ops(): the pointers to the ops follow the slots. */
	FETCH(ops, slot + frame->slots * ENTRY_SIZE + frame->index * sizeof(ops));
	if (!FETCH(event->priority, ops + OPS_PRIORITY))
		event->flags |= HAS_PRIORITY;
	if (chain) {
		name_chain(&chain->name, hook.priv);
		decided(chain, frame->skb);
		submit(chain);
	} else {
		submit(event);
		table_decided(frame, now);
	}
	if ((verdict & VERDICT_MASK) != STOLEN)
		changed(frame, now);
out:
	frame->index++;
	frame->since = bpf_ktime_get_ns();
	return 0;
}

/* Behind the indirect call: a register holds what the hook returned. */
int probe_call(struct pt_regs *ctx)
{
	u64 now = bpf_ktime_get_ns();
	struct frame *frame;

	runs(RAN_CALL);
	frame = under_way(PT_REGS_SP(ctx) + DEPTH);
	return frame ? called(frame, ctx->VERDICT, now) : 0;
}

/* A run of a loop ends. */
static __always_inline int leave(u64 key, struct frame *frame, s32 returned)
{
	struct exit_event *event;

	if (frame->unseen)
		goto out;
	count(N_EXITS);
	event = frame->traversal ? reserve_exit_event() : 0;
	if (event) {
		event->type = EV_EXIT;
		event->flags = 0;
		event->reserved = 0;
		event->returned = returned;
		event->traversal = frame->traversal;
		event->time = bpf_ktime_get_ns();
		submit(event);
	} else {
		lose();
	}
out:
	put_back(key, frame);
	frames.delete(&key);
	return 0;
}

/* On a returning instruction: the stack pointer is what it was at the entry. */
int probe_exit(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx);
	struct frame *frame;

	runs(RAN_EXIT);
	frame = under_way(key);
	return frame ? leave(key, frame, PT_REGS_RC(ctx)) : 0;
}
