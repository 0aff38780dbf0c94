/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of the tracer share: the records they make, with their mirror in events.py, and their tables.
 *
 * Compiled by BCC, together with the other files of this kind. The only kernel header is ptrace.h: structure offsets arrive as constants
 * made from the kernel's BTF (layout.py), DEPTH from the function's own code (probes.py).
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
	u32 len, answer;
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
	u64 task, entries, since, skb, state;
	u32 slots, index, in_hook, accepted, answer;
	u32 unseen;	/* it was under way before the capture: nothing of it is reported */
};

/* Ran: how often each probe's program did, which must be as often as the probe was hit. */
struct books {
	u64 counters[COUNTERS], ran[PROBES];
};

RINGS
BPF_TABLE("hash", u64, struct frame, frames, 4096);
BPF_TABLE("hash", u64, u8, skbs, 16384);
BPF_PERCPU_ARRAY(books, struct books, 1);
BPF_ARRAY(control, u64, 2);

/* control[PHASE] */
#define OFF 0		/* traversals under way are seen to their end, new ones are not looked at */
#define STARTING 1	/* some may be under way that were entered before */
#define ON 2

static __always_inline void count(int what)
{
	int only = 0;
	struct books *own = books.lookup(&only);

	if (own)
		own->counters[what]++;
}

static __always_inline void runs(int probe)
{
	int only = 0;
	struct books *own = books.lookup(&only);

	if (own)
		own->ran[probe]++;
}

static __always_inline u64 setting(int what)
{
	u64 *value = control.lookup(&what);

	return value ? *value : 0;
}

static __always_inline u64 number(void)
{
	int only = 0;
	struct books *own = books.lookup(&only);

	/* Per CPU, and BPF programs of this kind do not nest on one: nothing can come between. */
	return own ? ++own->counters[N_TRAVERSALS] << 12 | bpf_get_smp_processor_id() : 0;
}

RESERVES

#define FETCH(to, address) bpf_probe_read_kernel(&(to), sizeof(to), (void *)(address))

