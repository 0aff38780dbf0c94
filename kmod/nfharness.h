/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Generic netlink interface of nfharness.ko.
 *
 * Every command acts on the network namespace of the socket it is sent from
 * and needs CAP_NET_ADMIN in the user namespace that owns it; and in the initial
 * one what makes core warn, what tampers, and what looks beyond the namespace:
 * HOOK_DEL_ABSENT, FAIL_NEXT, FAIL_NETNS, CT_RUN, NETNS_GET, KEYS_GET, TAMPER,
 * RAW_ALTER, RAW_LIST, MEMORY_GET and TOGETHER; the attributes UNCHECKED and
 * REINJECT_VERDICT; NF_QUEUE as VERDICT; a RAW_VERDICT other than NF_ACCEPT,
 * NF_DROP and NF_STOLEN.
 */
#ifndef _UAPI_NFHARNESS_H
#define _UAPI_NFHARNESS_H

#define NFHARNESS_GENL_NAME    "nfharness"
#define NFHARNESS_GENL_VERSION 1

/*
 * A packet carries a cookie when its last 16 bytes (the end of the skb) are
 * NFHARNESS_COOKIE_MAGIC and the cookie as a big-endian 64-bit number, in either
 * order.
 */
#define NFHARNESS_COOKIE_MAGIC	   "nfharnes"
#define NFHARNESS_COOKIE_MAGIC_LEN 8

#define NFHARNESS_KEYS_HOOKS 8

/**
 * enum nfharness_cmd - commands
 *
 * @NFHARNESS_CMD_HOOK_ADD: register a hook. Needs ID, PF, HOOKNUM, PRIORITY,
 *	VERDICT, and IFINDEX for a device's hook point; takes ERRNO, QUEUE_NUM,
 *	QUEUE_BYPASS, COOKIE, REINJECT_VERDICT and TIMES.
 * @NFHARNESS_CMD_HOOK_DEL: unregister the hook ID.
 * @NFHARNESS_CMD_HOOK_GET: the hook ID, or (dump) all of the namespace's in the
 *	order they were added, with their counters.
 * @NFHARNESS_CMD_HOOK_FLUSH: unregister all of the namespace's hooks, empty its
 *	private arrays, forget FAIL_NEXT.
 * @NFHARNESS_CMD_SLOT_GET: (dump only) the live array of the hook point PF,
 *	HOOKNUM, IFINDEX, one message for each slot, any owner's. The
 *	array is read once, when the dump starts. Or that of the private ARRAY;
 *	without attributes that of every point and device, and the private ones.
 * @NFHARNESS_CMD_RAW_INSERT: nf_hook_entries_insert_raw() of a new hook into the
 *	private ARRAY, which begins with it if need be. Needs ID, ARRAY, PRIORITY
 *	and RAW_VERDICT; takes COOKIE.
 * @NFHARNESS_CMD_RAW_DELETE: nf_hook_entries_delete_raw() of the hook ID from
 *	the private array that it is in, which ends with its last hook; or from
 *	another ARRAY, where core must not find it.
 * @NFHARNESS_CMD_RAW_RUN: nf_hook_slow() over the private ARRAY, from START on,
 *	with a datagram that carries COOKIE. Answers with RETURN, CALLED, USERS
 *	and ALTERED. The packet gets nowhere, whatever the verdicts.
 * @NFHARNESS_CMD_BATCH_ADD: nf_register_net_hooks() of the HOOKS, in their order.
 * @NFHARNESS_CMD_BATCH_DEL: nf_unregister_net_hooks() of the batch that the hook
 *	ID came with; all of its hooks are registered still.
 * @NFHARNESS_CMD_HOOK_AGAIN: register the ops of the hook ID once more.
 *	HOOK_DEL then takes one registration at a time.
 * @NFHARNESS_CMD_HOOK_DEL_ABSENT: unregister ops that were never registered at
 *	PF, HOOKNUM, IFINDEX and, with UNCHECKED, DEVICE_NETNS. Core warns, and
 *	does nothing else.
 * @NFHARNESS_CMD_FAIL_NEXT: the next command of the HOOK_, BATCH_ and RAW_ ones
 *	that gets as far as core meets failing allocations there: those whose bit is
 *	set in FAIL, the first one's the lowest. -EOPNOTSUPP where the kernel has no
 *	kretprobes, or none of its allocator.
 * @NFHARNESS_CMD_CT_RUN: nf_ct_get_tuple_skb() of a datagram of this SADDR,
 *	DADDR, SPORT, DPORT and COOKIE, nf_ct_attach() of a second one to it, then
 *	the end of the second and of the first. The first may have gone through the
 *	namespace's hooks at PRE_ROUTING before (CT_TRACK), or have a connection of
 *	the module's (CT_OWN), while every other processor stands still. Answers with CT_CONNECTION, CT_ATTACHED, CT_INFO and
 *	CT_USES, with SADDR, DADDR, SPORT, DPORT of the tuple if there was one, and
 *	CT_CALLS; for CT_CLOSE with CT_CLOSINGS. -EOPNOTSUPP without
 *	CONFIG_NF_CONNTRACK, and for CT_CLOSE where core has no nf_ct_set_closing();
 *	-EBUSY for CT_OWN while nf_conntrack is loaded.
 * @NFHARNESS_CMD_NETNS_GET: the kernel's network namespaces, NETNS_LIVE and
 *	NETNS_DYING: nothing refers to the latter, and their cleanup has not begun.
 *	Where there are none of these, all cleanup is over.
 * @NFHARNESS_CMD_KEYS_GET: nf_hooks_needed, KEYS. -EOPNOTSUPP where the kernel
 *	has no jump labels.
 * @NFHARNESS_CMD_TAMPER: let the hook ID do what no hook should, TAMPER, so
 *	that tests can see it noticed. All of it is undone when the hook goes.
 * @NFHARNESS_CMD_FAIL_NETNS: namespaces that the sending task makes from now on
 *	find no memory in netfilter_net_init(), until it says FAIL 0 or another task
 *	asks for the same. -EOPNOTSUPP where no kprobe can be put there.
 * @NFHARNESS_CMD_RAW_ALTER: the hook ID, of a private array or registered, has
 *	another PRIORITY from now on, of which core is not told: its ops are the
 *	caller's. HOOK_FLUSH gives it back the first one.
 * @NFHARNESS_CMD_RAW_LIST: nf_hook_slow_list() over the private ARRAY with one
 *	datagram for each of COOKIES, 16 at most. Answers with PASSED, LIST_USERS,
 *	LIST_LINKED, ALTERED, and in CALLED with two numbers for each call: the datagram's cookie and the
 *	hook's ID. The packets get nowhere, whatever the verdicts.
 * @NFHARNESS_CMD_MEMORY_GET: what became of the arrays that core has allocated in
 *	commands of the module since the first MEMORY_GET: MEMORY and LEAKED. With
 *	SETTLE it waits for RCU before. -EOPNOTSUPP where no probes can be put on the
 *	allocator.
 * @NFHARNESS_CMD_TOGETHER: two tasks on two processors register two HOOKS at once,
 *	or unregister the hooks ID and OTHER: the second calls core when the first
 *	has come to its allocation there, where it waits 20 ms for the second to be
 *	through. Answers with the first errno there is. -EOPNOTSUPP with one
 *	processor.
 */
enum nfharness_cmd {
	NFHARNESS_CMD_UNSPEC,
	NFHARNESS_CMD_HOOK_ADD,
	NFHARNESS_CMD_HOOK_DEL,
	NFHARNESS_CMD_HOOK_GET,
	NFHARNESS_CMD_HOOK_FLUSH,
	NFHARNESS_CMD_SLOT_GET,
	NFHARNESS_CMD_RAW_INSERT,
	NFHARNESS_CMD_RAW_DELETE,
	NFHARNESS_CMD_RAW_RUN,
	NFHARNESS_CMD_BATCH_ADD,
	NFHARNESS_CMD_BATCH_DEL,
	NFHARNESS_CMD_HOOK_AGAIN,
	NFHARNESS_CMD_HOOK_DEL_ABSENT,
	NFHARNESS_CMD_FAIL_NEXT,
	NFHARNESS_CMD_CT_RUN,
	NFHARNESS_CMD_NETNS_GET,
	NFHARNESS_CMD_KEYS_GET,
	NFHARNESS_CMD_TAMPER,
	NFHARNESS_CMD_FAIL_NETNS,
	NFHARNESS_CMD_RAW_ALTER,
	NFHARNESS_CMD_RAW_LIST,
	NFHARNESS_CMD_MEMORY_GET,
	NFHARNESS_CMD_TOGETHER,

	/* private: */
	__NFHARNESS_CMD_MAX,
};

#define NFHARNESS_CMD_MAX (__NFHARNESS_CMD_MAX - 1)

/**
 * enum nfharness_tamper - ways to tamper with a hook
 *
 * @NFHARNESS_TAMPER_HIDE: unregister it, and say of it what was said before. Only
 *	for a hook that came alone, and once.
 * @NFHARNESS_TAMPER_MISCOUNT: count one call too many, once
 * @NFHARNESS_TAMPER_DUPLICATE: send a copy of each packet that it matches on
 *	its way as well. Not at a device's hook point, which has no okfn.
 * @NFHARNESS_TAMPER_HOLD: steal each packet that it matches, and keep it: nobody
 *	frees it. The first 16 of them.
 */
enum nfharness_tamper {
	NFHARNESS_TAMPER_HIDE,
	NFHARNESS_TAMPER_MISCOUNT,
	NFHARNESS_TAMPER_DUPLICATE,
	NFHARNESS_TAMPER_HOLD,
};

/**
 * enum nfharness_attr - attributes
 *
 * @NFHARNESS_A_PAD: alignment of 64-bit attributes
 * @NFHARNESS_A_ID: u64, not 0, unique in the namespace, chosen by user space;
 *	of a slot: the hook of this module that fills it, absent for others
 * @NFHARNESS_A_PF: u8, NFPROTO_*
 * @NFHARNESS_A_HOOKNUM: u32, hook point of the family
 * @NFHARNESS_A_IFINDEX: u32, device of an ingress or egress hook point
 * @NFHARNESS_A_PRIORITY: s32
 * @NFHARNESS_A_VERDICT: u32, NF_ACCEPT, NF_DROP, NF_QUEUE or NF_STOLEN
 * @NFHARNESS_A_ERRNO: u32, 1 to 4095, that an NF_DROP or NF_STOLEN carries
 * @NFHARNESS_A_QUEUE_NUM: u16, queue of an NF_QUEUE
 * @NFHARNESS_A_QUEUE_BYPASS: flag, NF_VERDICT_FLAG_QUEUE_BYPASS
 * @NFHARNESS_A_COOKIE: u64, the verdict is for packets with this cookie only,
 *	any other is accepted
 * @NFHARNESS_A_CALLS: u64, how often the hook function was called
 * @NFHARNESS_A_MATCHES: u64, how often it gave its verdict
 * @NFHARNESS_A_SLOT_INDEX: u32, position in the array
 * @NFHARNESS_A_SLOT_FUNCTION: string, symbol of the hook function
 * @NFHARNESS_A_SLOT_MODULE: string, module it belongs to, absent for vmlinux
 * @NFHARNESS_A_SLOT_ADDRESS: u64, its address; only for a reader that has
 *	CAP_SYSLOG in the initial user namespace
 * @NFHARNESS_A_SLOT_DUMMY: flag, the slot was left by an unregistration that
 *	found no memory for a smaller array
 * @NFHARNESS_A_ARRAY: u32, number of a private array, chosen by user space: no
 *	packet of the stack's ever gets there
 * @NFHARNESS_A_RAW_VERDICT: u32, whatever a hook in a private array shall return
 * @NFHARNESS_A_START: u32, slot that nf_hook_slow() starts with, 0 if absent
 * @NFHARNESS_A_RETURN: s32, what nf_hook_slow() returned
 * @NFHARNESS_A_CALLED: u64 each, IDs of the hooks that it called, in order
 * @NFHARNESS_A_USERS: u32, references to the skb afterwards: 1 if core freed its
 *	own, 2 if not, 0 if it freed one more
 * @NFHARNESS_A_HOOKS: nested, of nested attributes as HOOK_ADD has them
 * @NFHARNESS_A_UNCHECKED: flag, let core refuse a hook point that there is not
 * @NFHARNESS_A_FAIL: u32, bits of the allocations to fail
 * @NFHARNESS_A_SADDR: u32 in network order, IPv4 source
 * @NFHARNESS_A_DADDR: u32 in network order, IPv4 destination
 * @NFHARNESS_A_SPORT: u16 in network order, UDP source port
 * @NFHARNESS_A_DPORT: u16 in network order, UDP destination port
 * @NFHARNESS_A_CT_TRACK: flag, let the namespace's hooks at PRE_ROUTING see the
 *	first datagram
 * @NFHARNESS_A_CT_OWN: u32, bits of enum nfharness_ct_own
 * @NFHARNESS_A_CT_CONNECTION: flag, the first datagram had a connection
 * @NFHARNESS_A_CT_ATTACHED: flag, the second one has got the same, or the mark of
 *	one that is not tracked
 * @NFHARNESS_A_CT_INFO: u32, enum ip_conntrack_info of the second one, if it has
 *	got any
 * @NFHARNESS_A_CT_USES: u32, references to the first one's connection then
 * @NFHARNESS_A_CT_CALLS: u32 each, calls of the module's own hooks: of
 *	get_tuple_skb, of attach, of destroy when the second datagram had come to
 *	its end, of destroy when both had
 * @NFHARNESS_A_DEVICE_NETNS: s32, descriptor of another namespace, where IFINDEX
 *	is meant; with UNCHECKED: core refuses it
 * @NFHARNESS_A_NETNS_LIVE: u32 each, inode numbers
 * @NFHARNESS_A_NETNS_DYING: u32 each, inode numbers
 * @NFHARNESS_A_KEYS: u32 each, how often a hook point is needed: for every family
 *	NFHARNESS_KEYS_HOOKS of them, 0 where the kernel has not so many
 * @NFHARNESS_A_TAMPER: u32, enum nfharness_tamper
 * @NFHARNESS_A_REINJECT_VERDICT: u32, what the hook returns where nf_reinject()
 *	calls it, to which core has other answers than nf_hook_slow(): any value,
 *	NF_REPEAT with TIMES only
 * @NFHARNESS_A_TIMES: u32, 1 to 64, so many calls get REINJECT_VERDICT, the
 *	others NF_ACCEPT; in an answer: so many are left
 * @NFHARNESS_A_COOKIES: u64 each, of the datagrams of a list, in order
 * @NFHARNESS_A_PASSED: u64 each, cookies of those that came out, in order
 * @NFHARNESS_A_LIST_USERS: u32 each, references to the datagrams afterwards, in the
 *	order of COOKIES: 1 if core freed its own, 2 if not
 * @NFHARNESS_A_SETTLE: flag, wait until RCU has called what it was given
 * @NFHARNESS_A_MEMORY: u32 each: arrays allocated; of those freed; of these by the
 *	very call that replaced them; left to RCU still; not in the books for want
 *	of room; freed with other ops in their last slot than they had
 * @NFHARNESS_A_LEAKED: u32 each, slots of arrays that neither a hook point, nor a
 *	private array, nor RCU has, 64 at most
 * @NFHARNESS_A_OTHER: u64, ID of another hook
 * @NFHARNESS_A_CT_CLOSE: flag, nf_ct_set_closing() of the first datagram's
 *	connection, before the end of the second one, and of none
 * @NFHARNESS_A_CT_CLOSINGS: u32, calls of the module's set_closing, if there is one
 * @NFHARNESS_A_LIST_LINKED: u32 each, in the order of COOKIES: 1 if a hook met the
 *	datagram while it was linked to another one, else 0
 * @NFHARNESS_A_ALTERED: u32, calls of hooks in a private array with another
 *	nf_hook_state than core was given
 */
enum nfharness_attr {
	NFHARNESS_A_UNSPEC,
	NFHARNESS_A_PAD,
	NFHARNESS_A_ID,
	NFHARNESS_A_PF,
	NFHARNESS_A_HOOKNUM,
	NFHARNESS_A_IFINDEX,
	NFHARNESS_A_PRIORITY,
	NFHARNESS_A_VERDICT,
	NFHARNESS_A_ERRNO,
	NFHARNESS_A_QUEUE_NUM,
	NFHARNESS_A_QUEUE_BYPASS,
	NFHARNESS_A_COOKIE,
	NFHARNESS_A_CALLS,
	NFHARNESS_A_MATCHES,
	NFHARNESS_A_SLOT_INDEX,
	NFHARNESS_A_SLOT_FUNCTION,
	NFHARNESS_A_SLOT_MODULE,
	NFHARNESS_A_SLOT_ADDRESS,
	NFHARNESS_A_SLOT_DUMMY,
	NFHARNESS_A_ARRAY,
	NFHARNESS_A_RAW_VERDICT,
	NFHARNESS_A_START,
	NFHARNESS_A_RETURN,
	NFHARNESS_A_CALLED,
	NFHARNESS_A_USERS,
	NFHARNESS_A_HOOKS,
	NFHARNESS_A_UNCHECKED,
	NFHARNESS_A_FAIL,
	NFHARNESS_A_SADDR,
	NFHARNESS_A_DADDR,
	NFHARNESS_A_SPORT,
	NFHARNESS_A_DPORT,
	NFHARNESS_A_CT_TRACK,
	NFHARNESS_A_CT_OWN,
	NFHARNESS_A_CT_CONNECTION,
	NFHARNESS_A_CT_ATTACHED,
	NFHARNESS_A_CT_INFO,
	NFHARNESS_A_CT_USES,
	NFHARNESS_A_CT_CALLS,
	NFHARNESS_A_DEVICE_NETNS,
	NFHARNESS_A_NETNS_LIVE,
	NFHARNESS_A_NETNS_DYING,
	NFHARNESS_A_KEYS,
	NFHARNESS_A_TAMPER,
	NFHARNESS_A_REINJECT_VERDICT,
	NFHARNESS_A_TIMES,
	NFHARNESS_A_COOKIES,
	NFHARNESS_A_PASSED,
	NFHARNESS_A_LIST_USERS,
	NFHARNESS_A_SETTLE,
	NFHARNESS_A_MEMORY,
	NFHARNESS_A_LEAKED,
	NFHARNESS_A_OTHER,
	NFHARNESS_A_CT_CLOSE,
	NFHARNESS_A_CT_CLOSINGS,
	NFHARNESS_A_LIST_LINKED,
	NFHARNESS_A_ALTERED,

	/* private: */
	__NFHARNESS_A_MAX,
};

#define NFHARNESS_A_MAX (__NFHARNESS_A_MAX - 1)

/**
 * enum nfharness_ct_own - what CT_RUN puts in the place of nf_conntrack's
 *
 * @NFHARNESS_CT_OWN_CONNECTION: the first datagram has a connection of the module's
 * @NFHARNESS_CT_OWN_HOOKS: core's pointers lead to hooks of the module's meanwhile
 * @NFHARNESS_CT_OWN_ORPHAN: the last reference to the module's connection is put, twice,
 *	while no hook is there to destroy it. Core warns, or has a BUG() there:
 *	-EOPNOTSUPP unless the module's parameter "orphans" says that it warns.
 * @NFHARNESS_CT_OWN_UNTRACKED: the first datagram is one that conntrack is to leave
 *	alone, IP_CT_UNTRACKED; it has no connection
 */
enum nfharness_ct_own {
	NFHARNESS_CT_OWN_CONNECTION = 1,
	NFHARNESS_CT_OWN_HOOKS = 2,
	NFHARNESS_CT_OWN_ORPHAN = 4,
	NFHARNESS_CT_OWN_UNTRACKED = 8,
};

#endif /* _UAPI_NFHARNESS_H */
