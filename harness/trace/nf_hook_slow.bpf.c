/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every call that nf_hook_slow() makes, and the end of every skb that a verdict loop saw. Loops that the compiler put into another
 * function have their probes in inlined.bpf.c, which follows this file.
 *
 * Compiled by BCC. The only kernel header is ptrace.h: structure offsets arrive as constants made from the kernel's BTF (layout.py),
 * DEPTH from the function's own code (probes.py). The records below have their mirror in events.py.
 *
 * A traversal is known by the stack address of its return address: no two traversals under way share one, however deep they nest (a
 * veth pair delivers inside sendto()), whatever softirq interrupts them and wherever a preempted task goes on. The three probes
 * compute it from the stack pointer, so one that was missed cannot shift the meaning of the others.
 *
 * Every processor has a ring of its own. A probe runs as if in an NMI, where a reservation gives up at once if another processor holds
 * the ring's lock; the records' times put the rings together again. RINGS and RESERVES are made by tracer.py, one each a processor.
 */
#include <uapi/linux/ptrace.h>

#define EV_ENTRY 1
#define EV_CALL 2
#define EV_EXIT 3
#define EV_END 4

#define HAS_ID 1
#define HAS_PRIORITY 2
#define HAS_TAIL 4

#define COOKIE 16
#define LIST_MAX 48

struct entry_event {
	u8 type, flags, pf, hook;
	u32 netns;
	u64 traversal, skb, time, okfn, caller;
	u32 len;
	u16 start, slots, protocol, network, copied, loop;
	char in[16], out[16];
	u8 head[64], tail[COOKIE];
};

struct call_event {
	u8 type, flags;
	u16 index;
	u32 verdict;
	u64 traversal, function, priv, id;
	s32 priority;
	u32 ns;
	u64 time;
};

struct exit_event {
	u8 type, flags;
	u16 reserved;
	s32 returned;
	u64 traversal, time;
};

struct end_event {
	u8 type, how;
	u16 reserved;
	u32 reason;
	u64 skb, location, time;
};

struct frame {
	u64 traversal;	/* 0: its entry event was lost */
	u64 task, entries, since;
	u32 slots, index, in_hook, reserved;
};

/* frame.index of a run that was under way before the capture: nothing of it is reported. */
#define UNSEEN 0xffffffff

RINGS
BPF_TABLE("hash", u64, struct frame, frames, 4096);
BPF_TABLE("hash", u64, u8, skbs, 16384);
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);
BPF_PERCPU_ARRAY(ran, u64, PROBES);
BPF_ARRAY(control, u64, 2);

/* control[PHASE] */
#define OFF 0		/* traversals under way are seen to their end, new ones are not looked at */
#define STARTING 1	/* some may be under way that were entered before */
#define ON 2

static __always_inline void count(int what)
{
	u64 *value = counters.lookup(&what);

	if (value)
		*value += 1;
}

/* How often each probe's program ran, which must be as often as the probe was hit. */
static __always_inline void runs(int probe)
{
	u64 *value = ran.lookup(&probe);

	if (value)
		*value += 1;
}

static __always_inline u64 setting(int what)
{
	u64 *value = control.lookup(&what);

	return value ? *value : 0;
}

static __always_inline u64 number(void)
{
	int what = N_TRAVERSALS;
	u64 *value = counters.lookup(&what);

	/* Per CPU, and BPF programs of this kind do not nest on one: nothing can come between. */
	return value ? ++*value << 12 | bpf_get_smp_processor_id() : 0;
}

RESERVES

#define FETCH(to, address) bpf_probe_read_kernel(&(to), sizeof(to), (void *)(address))

/* Where the last byte of an skb that is not linear ends: in the last skb of its list, or in its last page. 0: somewhere else. */
static __always_inline u64 far_end(u64 shared)
{
	u64 skb = 0, next = 0, data = 0, page = 0;
	u32 len = 0, data_len = 0, offset = 0;
	u8 pages = 0;
	int i;

	FETCH(skb, shared + SHARED_FRAG_LIST);
	if (skb) {
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
	FETCH(pages, shared + SHARED_NR_FRAGS);
	if (!pages)
		return 0;
	shared += SHARED_FRAGS + (pages - 1) * FRAG_SIZE;
	FETCH(page, shared + FRAG_PAGE);
	FETCH(len, shared + FRAG_LEN);
	FETCH(offset, shared + FRAG_OFFSET);
	if (page & 1 || len < COOKIE)
		return 0;
	/* page_address() */
	return (page - VMEMMAP) / PAGE_STRUCT * PAGE_BYTES + DIRECT_MAP + offset + len;
}

static __always_inline void packet(struct entry_event *event, u64 skb)
{
	u64 head = 0, data = 0, at = 0;
	u32 data_len = 0, end = 0, skip;
	u16 network = 0;

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
		at = far_end(head + end);
	} else if (event->len >= COOKIE) {
		at = data + event->len;
	}
	if (at && !bpf_probe_read_kernel(event->tail, sizeof(event->tail), (void *)(at - sizeof(event->tail))))
		event->flags |= HAS_TAIL;
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
		circumstances(event, state);
		packet(event, skb);
		event->time = bpf_ktime_get_ns();
		events0.ringbuf_submit(event, 0);
	} else {
		frame->traversal = 0;
		count(N_LOST);
	}
	frame->since = bpf_ktime_get_ns();
	if (frames.update(&key, frame))
		count(N_FRAMES_FULL);
}

/* int nf_hook_slow(struct sk_buff *skb, struct nf_hook_state *state, const struct nf_hook_entries *e, unsigned int s) */
int probe_entry(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), caller = 0;
	struct frame frame = {
		.task = bpf_get_current_task(),
		.entries = PT_REGS_PARM3(ctx),
		.index = PT_REGS_PARM4(ctx),
	};

	runs(RAN_ENTRY);
	if (setting(PHASE) == OFF)
		return 0;
	FETCH(caller, key);
	enter(key, &frame, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), caller, 0);
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

/* Behind the indirect call: the hook at frame->index has returned. */
static __always_inline int called(struct frame *frame, u32 verdict, u64 now)
{
	u64 slot, ops = 0;
	struct { u64 function, priv; } hook = {};
	struct call_event *event;

	if (frame->index == UNSEEN)
		return 0;
	count(N_CALLS);
	if (!frame->traversal) {
		count(N_LOST);
		return 0;
	}
	slot = frame->entries + ENTRIES_HOOKS;
	FETCH(hook.function, slot + frame->index * ENTRY_SIZE + ENTRY_HOOK);
	FETCH(hook.priv, slot + frame->index * ENTRY_SIZE + ENTRY_PRIV);
	event = reserve_call_event();
	if (!event) {
		count(N_LOST);
		goto out;
	}
	event->type = EV_CALL;
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
	events0.ringbuf_submit(event, 0);
out:
	frame->index++;
	frame->since = bpf_ktime_get_ns();
	return 0;
}

/* Just behind the indirect call: ax holds what the hook returned. */
int probe_call(struct pt_regs *ctx)
{
	u64 now = bpf_ktime_get_ns();
	struct frame *frame;

	runs(RAN_CALL);
	frame = under_way(PT_REGS_SP(ctx) + DEPTH);
	return frame ? called(frame, PT_REGS_RC(ctx), now) : 0;
}

/* A run of a loop ends. */
static __always_inline int leave(u64 key, struct frame *frame, s32 returned)
{
	struct exit_event *event;

	if (frame->index == UNSEEN)
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
		events0.ringbuf_submit(event, 0);
	} else {
		count(N_LOST);
	}
out:
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
