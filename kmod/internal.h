/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NFHARNESS_INTERNAL_H
#define _NFHARNESS_INTERNAL_H

#include <linux/atomic.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <linux/types.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

#include "nfharness.h"

/* Exported to modules, but declared in no header that they get. */
int nf_hook_entries_insert_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg);
void nf_hook_entries_delete_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg);

/**
 * struct nfh_net - what the module keeps for a network namespace
 *
 * @net: the namespace
 * @node: in nfh_nets, until nothing of the module's is left in it
 * @lock: protects the rest
 * @hooks: struct nfh_hook at hook points, in the order they were added
 * @arrays: struct nfh_array
 * @fail: see NFHARNESS_CMD_FAIL_NEXT
 * @generation: changes with @hooks, for NLM_F_DUMP_INTR
 */
struct nfh_net {
	struct net *net;
	struct list_head node;
	struct mutex lock; /* taken inside RTNL */
	struct list_head hooks;
	struct list_head arrays;
	u32 fail;
	u32 generation;
};

/**
 * struct nfh_point - a hook point: where nf_hook_entry_head() finds one array
 *
 * NFPROTO_INET stands for two of them, except at NF_INET_INGRESS.
 *
 * @pf: NFPROTO_*
 * @hooknum: hook point of the family
 * @ifindex: device, 0 where the hook point has none
 * @device_netns: descriptor of a foreign namespace that has the device, or -1
 */
struct nfh_point {
	u8 pf;
	u32 hooknum;
	u32 ifindex;
	int device_netns;
};

/**
 * struct nfh_array - a private array: only a run walks it
 *
 * @number: user space's name for it
 * @head: what core's raw functions work on, never NULL
 * @hooks: struct nfh_hook in it; never empty
 * @run: the run under way, or NULL
 * @node: in &struct nfh_net.arrays
 */
struct nfh_array {
	u32 number;
	struct nf_hook_entries __rcu *head;
	struct list_head hooks;
	struct nfh_run *run;
	struct list_head node;
};

/**
 * struct nfh_call - of a hook in a private array
 *
 * @id: of the hook
 * @skb: with which
 * @verdict: what it returned
 * @linked: whether @skb was in a list
 */
struct nfh_call {
	u64 id;
	const struct sk_buff *skb;
	u32 verdict;
	bool linked;
};

/**
 * struct nfh_run - one run over a private array
 *
 * @state: what core gets, and hands to the hook functions
 * @given: what @state was then
 * @altered: calls with another one
 * @skb: see nfh_array_run()
 * @ret: of nf_hook_slow()
 * @users: references to @skb afterwards
 * @room: of @called
 * @count: calls; those that @called has no room for are not in it
 * @called: in order
 */
struct nfh_run {
	struct nf_hook_state state;
	struct nf_hook_state given;
	u32 altered;
	struct sk_buff *skb;
	int ret;
	u32 users;
	u32 room;
	u32 count;
	struct nfh_call called[];
};

/**
 * struct nfh_batch - hooks that came with one nf_register_net_hooks()
 *
 * @count: so many came
 * @left: so many are there still; the last one takes the batch along
 * @rcu: as of &struct nfh_hook
 * @ops: of the hooks
 */
struct nfh_batch {
	u32 count;
	u32 left;
	struct rcu_head rcu;
	struct nf_hook_ops ops[];
};

/**
 * struct nfh_held - packets that a hook keeps
 *
 * @count: so many it has; those that @skb has no room for it lets go
 * @skb: the first ones
 */
struct nfh_held {
	atomic_t count;
	struct sk_buff *skb[16];
};

/**
 * struct nfh_hook - a registered hook, the priv of its ops
 *
 * @id: must stay first: a tracer that has only priv reads it there
 * @verdict: what nfharness_hook() returns for a packet that matches
 * @has_cookie: only a packet with @cookie matches
 * @cookie: see @has_cookie
 * @has_reinject_verdict: where nf_reinject() calls, a packet that matches gets
 *	@reinject_verdict
 * @has_times: but only @times_left times, and then NF_ACCEPT
 * @reinject_verdict: see @has_reinject_verdict
 * @times_left: see @has_times
 * @calls: calls of nfharness_hook()
 * @matches: those that returned @verdict
 * @array: private array that the hook is in, NULL for a hook at a hook point
 * @point: where the hook is, if it is in no private array
 * @own_ops: @ops of a hook that came alone
 * @ops: what core was given
 * @priority: of @ops when core was given them, see NFHARNESS_CMD_RAW_ALTER
 * @registrations: of @ops
 * @tampering: see NFHARNESS_CMD_TAMPER: bits of enum nfharness_tamper
 * @held: of NFHARNESS_TAMPER_HOLD
 * @batch: what the hook came with, or NULL
 * @node: in &struct nfh_net.hooks or &struct nfh_array.hooks
 * @rcu: readers may still walk an array with @ops after its unregistration
 */
struct nfh_hook {
	u64 id;
	u32 verdict;
	bool has_cookie;
	u64 cookie;
	bool has_reinject_verdict;
	bool has_times;
	u32 reinject_verdict;
	atomic_t times_left;
	atomic64_t calls;
	atomic64_t matches;
	struct nfh_array *array;
	struct nfh_point point;
	struct nf_hook_ops own_ops;
	struct nf_hook_ops *ops;
	s32 priority;
	u32 registrations;
	u32 tampering;
	struct nfh_held *held;
	struct nfh_batch *batch;
	struct list_head node;
	struct rcu_head rcu;
};

/**
 * struct nfh_flow - what tells a datagram from others
 *
 * @saddr: source
 * @daddr: destination
 * @sport: source port
 * @dport: destination port
 */
struct nfh_flow {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
};

/* The files from the ground up: each uses only what stands above its name. */

/* net.c */
extern struct genl_family nfh_family;
extern struct list_head nfh_nets;
extern struct mutex nfh_nets_lock;
extern unsigned int nfh_net_id;
struct nfh_net *nfh_net(const struct net *net);
int nfh_needs_root(const struct sk_buff *skb, struct netlink_ext_ack *extack);
struct nfh_hook *nfh_hook_find(struct nfh_net *nn, u64 id);
struct nfh_hook *nfh_hook_of_request(struct nfh_net *nn, struct genl_info *info);

/* allocator.c */
int nfh_probe_allocator(struct kretprobe *probe, kretprobe_handler_t entry,
			kretprobe_handler_t handler);

/* point.c */
int nfh_point_parse(struct nlattr **tb, struct nfh_point *point, struct netlink_ext_ack *extack);
u32 nfh_point_limit(u8 pf);
bool nfh_point_has_device(const struct nfh_point *point);
struct nf_hook_entries __rcu **nfh_point_head(struct net *net, struct net_device *dev,
					      const struct nfh_point *point);
struct net_device *nfh_point_device(struct net *net, const struct nfh_point *point);
int nfh_point_put(struct sk_buff *msg, const struct nfh_point *point);

/* verdict.c */
u32 nfh_hook_verdict(struct nfh_hook *hook, const struct sk_buff *skb,
		     const struct nf_hook_state *state);
int nfh_verdict_parse(struct nlattr **tb, struct nfh_hook *hook, struct netlink_ext_ack *extack);
int nfh_verdict_put(struct sk_buff *msg, const struct nfh_hook *hook);

/* datagram.c */
struct sk_buff *nfh_datagram(struct net *net, const struct nfh_flow *flow, u64 cookie);

/* state.c */
int nfh_netns_get_doit(struct sk_buff *skb, struct genl_info *info);
int nfh_keys_get_doit(struct sk_buff *skb, struct genl_info *info);

/* memory.c */
void nfh_memory_begin(void);
void nfh_memory_end(void);
void nfh_memory_disarm(void);
int nfh_memory_get_doit(struct sk_buff *skb, struct genl_info *info);

/* tamper.c */
bool nfh_tamper_packet(struct nfh_hook *hook, struct sk_buff *skb,
		       const struct nf_hook_state *state);
bool nfh_tamper_undo(struct nfh_net *nn, struct nfh_hook *hook);
int nfh_tamper_doit(struct sk_buff *skb, struct genl_info *info);

/* fault.c */
void nfh_fault_begin(struct nfh_net *nn);
void nfh_fault_end(struct nfh_net *nn);
void nfh_fault_unmake(void);
int nfh_fail_next_doit(struct sk_buff *skb, struct genl_info *info);
int nfh_fail_netns_doit(struct sk_buff *skb, struct genl_info *info);

/* ct.c */
int nfh_ct_run_doit(struct sk_buff *skb, struct genl_info *info);
extern const struct nla_policy nfh_ct_run_policy[NFHARNESS_A_CT_CLOSE + 1];

/* hook.c */
extern const struct nla_policy nfh_hook_policy[NFHARNESS_A_TIMES + 1];
unsigned int nfharness_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);
struct nfh_hook *nfh_hook_parse(const struct sk_buff *skb, struct nlattr **tb,
				struct netlink_ext_ack *extack);
int nfh_hook_add(struct net *net, struct nfh_hook *hook, struct netlink_ext_ack *extack);
void nfh_hook_del(struct net *net, struct nfh_hook *hook);
void nfh_hook_flush(struct net *net, const struct net_device *dev);
int nfh_hook_put(struct sk_buff *msg, const struct nfh_hook *hook);
int nfh_hook_again_doit(struct sk_buff *skb, struct genl_info *info);
int nfh_hook_del_absent_doit(struct sk_buff *skb, struct genl_info *info);
void nfh_hook_list(struct nfh_net *nn, struct nfh_hook *hook);
void nfh_hook_forget(struct nfh_net *nn, struct nfh_hook *hook);

/* array.c */
struct nfh_array *nfh_array_find(struct nfh_net *nn, u32 number);
struct nfh_array *nfh_array_of_request(struct nfh_net *nn, struct genl_info *info);
int nfh_raw_insert_doit(struct sk_buff *skb, struct genl_info *info);
int nfh_raw_delete_doit(struct sk_buff *skb, struct genl_info *info);
int nfh_raw_alter_doit(struct sk_buff *skb, struct genl_info *info);
void nfh_array_flush(struct nfh_net *nn);
extern const struct nla_policy nfh_raw_insert_policy[NFHARNESS_A_RAW_VERDICT + 1];
extern const struct nla_policy nfh_raw_delete_policy[NFHARNESS_A_ARRAY + 1];
extern const struct nla_policy nfh_raw_alter_policy[NFHARNESS_A_PRIORITY + 1];

/* run.c */
extern const struct nfh_flow nfh_run_flow;
struct nfh_run *nfh_run_alloc(struct net *net, struct nfh_array *array, u32 packets);
u32 nfh_run_verdict(const struct nfh_run *run, const struct sk_buff *skb);
void nfh_run_unqueue(struct net *net);
int nfh_raw_run_doit(struct sk_buff *skb, struct genl_info *info);
extern const struct nla_policy nfh_raw_run_policy[NFHARNESS_A_START + 1];

/* list.c */
int nfh_raw_list_doit(struct sk_buff *skb, struct genl_info *info);
extern const struct nla_policy nfh_raw_list_policy[NFHARNESS_A_COOKIES + 1];

/* slots.c */
int nfh_slots_dump(struct sk_buff *msg, struct netlink_callback *cb);
int nfh_slots_done(struct netlink_callback *cb);
extern const struct nla_policy nfh_slots_policy[NFHARNESS_A_MAX + 1];

/* batch.c */
int nfh_batch_add_doit(struct sk_buff *skb, struct genl_info *info);
int nfh_batch_del_doit(struct sk_buff *skb, struct genl_info *info);

/* together.c */
int nfh_together_doit(struct sk_buff *skb, struct genl_info *info);

/* netlink.c */
int nfh_netlink_register(void);

#endif /* _NFHARNESS_INTERNAL_H */
