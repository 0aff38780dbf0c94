/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _NFHARNESS_INTERNAL_H
#define _NFHARNESS_INTERNAL_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <linux/types.h>
#include <net/net_namespace.h>

#include "nfharness.h"

/**
 * struct nfh_net - what the module keeps for a network namespace
 *
 * @lock: protects the rest
 * @hooks: struct nfh_hook, in the order they were added
 * @generation: changes with @hooks, for NLM_F_DUMP_INTR
 */
struct nfh_net {
	struct mutex lock; /* taken inside RTNL */
	struct list_head hooks;
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
 */
struct nfh_point {
	u8 pf;
	u32 hooknum;
	u32 ifindex;
};

/**
 * struct nfh_hook - a registered hook, the priv of its ops
 *
 * @id: must stay first: a tracer that has only priv reads it there
 * @verdict: what nfharness_hook() returns for a packet that matches
 * @has_cookie: only a packet with @cookie matches
 * @cookie: see @has_cookie
 * @calls: calls of nfharness_hook()
 * @matches: those that returned @verdict
 * @point: where the hook is
 * @ops: what core was given
 * @node: in &struct nfh_net.hooks
 * @rcu: readers may still walk an array with @ops after its unregistration
 */
struct nfh_hook {
	u64 id;
	u32 verdict;
	bool has_cookie;
	u64 cookie;
	atomic64_t calls;
	atomic64_t matches;
	struct nfh_point point;
	struct nf_hook_ops ops;
	struct list_head node;
	struct rcu_head rcu;
};

/* main.c */
struct nfh_net *nfh_net(const struct net *net);

/* netlink.c */
extern struct genl_family nfh_family;

/* point.c */
int nfh_point_parse(struct nlattr **tb, struct nfh_point *point, struct netlink_ext_ack *extack);
bool nfh_point_has_device(const struct nfh_point *point);
struct nf_hook_entries __rcu **nfh_point_head(struct net *net, struct net_device *dev,
					      const struct nfh_point *point);
int nfh_point_put(struct sk_buff *msg, const struct nfh_point *point);

/* hook.c */
unsigned int nfharness_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);
struct nfh_hook *nfh_hook_parse(struct nlattr **tb, struct netlink_ext_ack *extack);
int nfh_hook_add(struct net *net, struct nfh_hook *hook, struct netlink_ext_ack *extack);
struct nfh_hook *nfh_hook_find(struct nfh_net *nn, u64 id);
void nfh_hook_del(struct net *net, struct nfh_hook *hook);
void nfh_hook_flush(struct net *net, const struct net_device *dev);
int nfh_hook_put(struct sk_buff *msg, const struct nfh_hook *hook);

/* slots.c */
int nfh_slots_dump(struct sk_buff *msg, struct netlink_callback *cb);
int nfh_slots_done(struct netlink_callback *cb);
extern const struct nla_policy nfh_slots_policy[NFHARNESS_A_MAX + 1];

#endif /* _NFHARNESS_INTERNAL_H */
