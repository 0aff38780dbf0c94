/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which rule of an xtables table decided. ipt_do_table(), ip6t_do_table() and arpt_do_table() walk entries that lie one behind the other:
 * first the chains of the hook points, each with its policy as the last entry, then those that users made, each behind an entry whose
 * target is ERROR and holds the chain's name.
 *
 * Where the function has come to its end, a register holds the entry that decided, or the one behind it if a match had the packet
 * dropped ("hotdrop"). No table can be replaced meanwhile: its number in its chain is counted there and then. A register counts as an
 * entry if it points into the table's.
 *
 * tracer.py makes the programs.
 */

/* struct xt_table: list, valid_hooks, private. No vmlinux has x_tables' types. */
#define TABLE_PRIVATE 24
/* struct xt_table_info */
#define INFO_ENTRIES 64
/* struct xt_entry_target: size, the target, then its data. struct xt_target: list, name. struct xt_error_target has 64 bytes. */
#define TARGET_KERNEL 8
#define TARGET_DATA 32
#define TARGET_NAME 16
#define ERROR_BYTES 64
#define ERROR_TARGET 0x524f525245	/* "ERROR" and its NUL, 6 bytes */
#define ERROR_MASK 0xffffffffffff

#define TABLE_HOOKS 5
#define TABLE_STEPS 1024

struct table_info {
	u32 size, number, initial_entries, hook_entry[TABLE_HOOKS], underflow[TABLE_HOOKS];
};

/* The first argument is the table since 5.16, the skb before. */
struct table_call {
	u64 first, second, third;
};

struct table_rule {
	u32 number, flags;
	char chain[TABLE_NAME_BYTES], target[TABLE_NAME_BYTES];
};

BPF_TABLE("hash", u64, struct table_call, table_calls, 4096);	/* by the stack pointer */
BPF_TABLE("hash", u64, struct table_rule, table_rules, 4096);	/* by the skb */

static __always_inline int table_begin(struct pt_regs *ctx)
{
	struct table_call call = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx) };
	u64 key = PT_REGS_SP(ctx);

	if (setting(PHASE) != OFF)
		table_calls.update(&key, &call);
	return 0;
}

/* Whether these are the entries of a table's, of which one is at that address. */
static __always_inline int table_of(struct table_info *info, u64 *entries, u64 table, u64 entry)
{
	u64 private = 0;

	FETCH(private, table + TABLE_PRIVATE);
	*entries = private + INFO_ENTRIES;
	return !FETCH(*info, private) && entry >= *entries && entry - *entries < info->size;
}

/* Count the entry's place in its chain; 0 where it is not found. What made the packet a drop by "hotdrop" is the entry before. */
static __always_inline void table_count(struct table_rule *rule, u64 entries, u64 from, u64 at, u32 sizes, int hot)
{
	u64 place = from, target = 0, name = 0, chain = 0;
	struct { u16 target, next; } offsets;
	u32 number = 0;
	int step;

#pragma clang loop unroll(disable)
	for (step = 0; step < TABLE_STEPS; step++) {
		if (place > at || FETCH(offsets, entries + place + sizes) || !offsets.next)
			return;
		target = entries + place + offsets.target;
		name = 0;
		if (offsets.next - offsets.target == ERROR_BYTES) {
			FETCH(name, target + TARGET_KERNEL);
			FETCH(name, name + TARGET_NAME);
		}
		if ((name & ERROR_MASK) == ERROR_TARGET) {
			number = 0;
			chain = target + TARGET_DATA;
		} else {
			number++;
		}
		if (hot ? place + offsets.next == at : place == at)
			break;
		place += offsets.next;
	}
	if (step == TABLE_STEPS)
		return;
	rule->number = number;
	if (chain)
		bpf_probe_read_kernel_str(rule->chain, sizeof(rule->chain), (void *)chain);
	if (!hot) {
		FETCH(name, target + TARGET_KERNEL);
		bpf_probe_read_kernel_str(rule->target, sizeof(rule->target), (void *)name + TARGET_NAME);
	}
}

/*
 * sizes: offset in an entry of the offsets of its target and of the next entry. hotdrop: address of acpar.hotdrop.
 */
static __always_inline int table_end(u64 key, u64 entry, u32 sizes, u64 hotdrop)
{
	struct table_call *call = table_calls.lookup(&key);
	struct table_rule rule = {};
	struct table_info info = {};
	u64 entries = 0, skb, state, at, from = 0;
	u8 hook = 0, hot = 0;

	if (!call)
		return 0;
	if (table_of(&info, &entries, call->first, entry)) {
		skb = call->second;
		state = call->third;
	} else if (table_of(&info, &entries, call->third, entry)) {
		skb = call->first;
		state = call->second;
	} else {
		goto out;
	}
	at = entry - entries;
	FETCH(hot, hotdrop);
	FETCH(hook, state + STATE_HOOK);
	if (hook >= TABLE_HOOKS)
		goto out;
	if (at >= info.hook_entry[hook] && at <= info.underflow[hook])
		from = info.hook_entry[hook];
	else
		from = info.underflow[hook];
	if (hot)
		rule.flags |= HOT_DROPPED;
	else if (at == info.underflow[hook])
		rule.flags |= BY_POLICY;
	table_count(&rule, entries, from, at, sizes, hot);
	table_rules.update(&skb, &rule);
out:
	table_calls.delete(&key);
	return 0;
}

/* Behind the record of a call: which rule of the table decided that has just returned. */
static __always_inline void table_decided(struct frame *frame, u64 now)
{
	struct table_rule *rule = table_rules.lookup(&frame->skb);
	struct rule_event *event;

	if (!rule)
		return;
	event = reserve_rule_event();
	if (event) {
		event->type = EV_RULE;
		event->flags = rule->flags;
		event->reserved = 0;
		event->number = rule->number;
		event->traversal = frame->traversal;
		event->time = now;
		__builtin_memcpy(event->chain, rule->chain, sizeof(event->chain));
		__builtin_memcpy(event->target, rule->target, sizeof(event->target));
		submit(event);
	} else {
		lose();
	}
	table_rules.delete(&frame->skb);
}
