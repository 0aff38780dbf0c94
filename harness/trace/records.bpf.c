/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of the tracer share: the records they make, with their mirror in events.py, and their tables.
 *
 * Compiled by BCC, together with the other files of this kind. The only kernel header is ptrace.h: structure offsets arrive as constants
 * made from the kernel's BTF (layout.py), DEPTH from the function's own code (probes.py).
 *
 * Every processor has its own ring. A probe runs as if in an NMI, where a reservation gives up at once if another processor holds
 * the ring's lock; the records' times put the rings together again. RINGS and RESERVES are made by tracer.py, one each a processor.
 */
#include <uapi/linux/ptrace.h>

#define EV_ENTRY 1
#define EV_CALL 2
#define EV_EXIT 3
#define EV_END 4
#define EV_CHAIN_CALL 5
#define EV_TURN 6
#define EV_CHANGE 7
#define EV_GONE 8
#define EV_HOOK 9
#define EV_SLOT 10
#define EV_RULE 11

#define HAS_ID 1
#define HAS_PRIORITY 2
#define HAS_TAIL 4
#define HAS_KEY 8
#define HOT_DROPPED 1
#define BY_POLICY 2

#define COOKIE 16
#define LIST_MAX 48
#define HEAD 64
#define SHAPE 48
#define JUMPS 4	/* a power of two */
#define FRAMES 16

struct entry_event {
	u8 type, flags, pf, hook;
	u32 netns;
	u64 traversal, skb, time, okfn, caller, entries;
	u32 len, answer;
	u16 start, slots, protocol, network, copied, loop;
	u32 mark;
	u8 ct, reserved;
	u16 zone;
	u32 status, ct_id;
	char in[16], out[16];
	u8 head[HEAD], tail[COOKIE];
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

/* What a hook made of the packet, behind the record of its call. */
struct change_event {
	u8 type, ct;
	u16 protocol, network, copied;
	u32 len, mark;
	u64 traversal, time;
	u32 status, ct_id;
	u16 zone, reserved[3];
	u8 head[HEAD];
};

/*
 * What nft_do_chain() evaluated last that could give a verdict. Function: what was called indirectly, or 0: then the verdict is known.
 * Jumps: how many there were; via: the rules of the first of them.
 */
struct decision {
	u64 function, handle;
	u32 code, jumps;
	u64 via[JUMPS];
};

/* name.kind */
#define NO_NAME 0
#define CHAIN_NAMED 1
#define PROGRAM_NAMED 2

/* Of a chain: the handle is its table's. Of a BPF program: its id, and its name as the chain's. */
struct name {
	u64 handle;
	u16 family, kind, reserved[2];
	char table[NAME_BYTES], chain[NAME_BYTES];
};

/* A call of a base chain of nftables'. */
struct chain_event {
	struct call_event call;
	struct decision decision;
	struct name name;
};

/* Behind the record of an xtables table's call: the rule that decided, by its number in its chain; 0 where it was not found. */
struct rule_event {
	u8 type, flags;
	u16 reserved;
	u32 number;
	u64 traversal, time;
	char chain[TABLE_NAME_BYTES], target[TABLE_NAME_BYTES];	/* empty for the hook point's chain, and for a standard target */
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
	u64 skb, location, dev, time;
};

struct turn_event {
	u8 type, what;
	char name[16];
	u8 reserved[6];
	u64 skb, other, driver, time;
};

struct gone_event {
	u8 type, reserved[3];
	u32 netns;
	u64 time;
};

/* A slot of an array that a registration found or made. */
struct slot_event {
	u8 type, after;
	u16 index;
	s32 priority;
	u64 registration, function, priv, time;
	struct name name;
};

/*
 * A hook was registered or unregistered: the records of both arrays' slots come before it. Key: nf_hooks_needed of the point. Stack: what
 * called that.
 */
struct hook_event {
	u8 type, how, pf, hook, flags, reserved[3];
	s32 result, priority, key;
	u32 netns, pid, link;
	u64 registration, function, priv, before, after, time;
	u16 slots_before, slots_after, padding[2];
	char process[16], device[16];
	u64 stack[FRAMES];
	struct name name;
};

/*
 * What hooks change of a packet: its mark, its connection, and its headers, of which the first SHAPE bytes are compared. Entry: the
 * connection's struct nf_conn; id, status and zone are 0 without one.
 */
struct shape {
	u32 mark, ct, status, ct_id, zone, reserved;
	u64 entry;
	u64 head[SHAPE / 8];
};

struct frame {
	u64 traversal;	/* 0: its entry event was lost */
	u64 task, entries, since, skb, state;
	u32 slots, index, in_hook, begun, accepted, answer;
	u32 unseen;	/* it was under way before the capture: nothing of it is reported */
	u32 inner;	/* it runs inside the evaluation of a rule */
	struct shape shape;
};

/* Ran: how often each probe's program did, which must be as often as the probe was hit. */
struct books {
	u64 counters[COUNTERS], ran[PROBES];
	u64 local;	/* the skb that a host took last */
	u64 apart;	/* whether that was taken apart since */
};

/* Open: records that are reserved and not submitted. Lost: records that found no room, as N_LOST counts them, where it is read often. */
struct writing {
	u64 open, lost;
};

RINGS
BPF_TABLE("hash", u64, struct frame, frames, 4096);
BPF_TABLE("hash", u64, u8, skbs, 16384);
BPF_TABLE("hash", u64, u8, chained, 64);	/* hook functions whose priv is a chain */
BPF_PERCPU_ARRAY(books, struct books, 1);
BPF_PERCPU_ARRAY(drafts, struct frame, 1);
BPF_ARRAY(control, u64, CONTROLS);
BPF_PERCPU_ARRAY(writing, struct writing, 1);

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

static __always_inline void lose(void)
{
	int only = 0;
	struct writing *own = writing.lookup(&only);

	if (own)
		own->lost++;
	count(N_LOST);
}

static __always_inline void runs(int probe)
{
	int only = 0;
	struct books *own = books.lookup(&only);

	if (own)
		own->ran[probe]++;
}

/* A frame to fill in, which frames.update() copies: one on the stack, of 512 bytes, leaves too little room for the rest. */
static __always_inline struct frame *drafted(void)
{
	int only = 0;
	struct frame *frame = drafts.lookup(&only);

	if (frame) {
		__builtin_memset(frame, 0, sizeof(*frame));
		frame->task = bpf_get_current_task();
	}
	return frame;
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

/* What interrupts a program has submitted its own records before the program goes on: no atomic operation is needed. */
static __always_inline void unfinished(int more)
{
	int only = 0;
	struct writing *own = writing.lookup(&only);

	if (own)
		own->open += more;
}

static __always_inline void submit(void *event)
{
	events0.ringbuf_submit(event, 0);
	unfinished(-1);
}

RESERVES

#define FETCH(to, address) bpf_probe_read_kernel(&(to), sizeof(to), (void *)(address))

