// SPDX-License-Identifier: GPL-2.0-only
/* Core's way to connection tracking, with nf_conntrack, without it, and with hooks of the module's
 * own in its place. Only core's own functions are called: nf_conntrack is no dependency.
 */
#include <linux/bottom_half.h>
#include <linux/ip.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/stop_machine.h>
#include <linux/udp.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/netfilter/nf_conntrack_tuple.h>
#include <net/netlink.h>

#include "internal.h"

const struct nla_policy nfh_ct_run_policy[NFHARNESS_A_CT_CLOSE + 1] = {
	[NFHARNESS_A_COOKIE] = { .type = NLA_U64 },
	[NFHARNESS_A_SADDR] = { .type = NLA_U32 },
	[NFHARNESS_A_DADDR] = { .type = NLA_U32 },
	[NFHARNESS_A_SPORT] = { .type = NLA_U16 },
	[NFHARNESS_A_DPORT] = { .type = NLA_U16 },
	[NFHARNESS_A_CT_TRACK] = { .type = NLA_FLAG },
	[NFHARNESS_A_CT_OWN] = NLA_POLICY_MAX(
		NLA_U32, NFHARNESS_CT_OWN_CONNECTION | NFHARNESS_CT_OWN_HOOKS |
				 NFHARNESS_CT_OWN_ORPHAN | NFHARNESS_CT_OWN_UNTRACKED),
	[NFHARNESS_A_CT_CLOSE] = { .type = NLA_FLAG },
};

#if IS_ENABLED(CONFIG_NF_CONNTRACK)

static bool nfh_ct_orphans;
module_param_named(orphans, nfh_ct_orphans, bool, 0644);
MODULE_PARM_DESC(orphans, "core only warns of a connection that it cannot destroy");

/**
 * struct nfh_ct_run - one run, and what came of it
 *
 * @flow: of both datagrams
 * @cookie: of the datagrams
 * @own: bits of enum nfharness_ct_own
 * @track: see NFHARNESS_A_CT_TRACK
 * @skb: the first datagram
 * @new: the second one
 * @found: @tuple was found
 * @tuple: by nf_ct_get_tuple_skb() of @skb
 * @connection: @skb had one
 * @nfct: of @new after nf_ct_attach()
 * @attached: that is the connection of @skb, or @skb has none either
 * @uses: references to the connection of @skb then
 * @calls: see NFHARNESS_A_CT_CALLS
 * @close: see NFHARNESS_A_CT_CLOSE
 * @closings: see NFHARNESS_A_CT_CLOSINGS
 */
struct nfh_ct_run {
	struct nfh_flow flow;
	u64 cookie;
	u32 own;
	bool track;
	struct sk_buff *skb;
	struct sk_buff *new;
	bool found;
	struct nf_conntrack_tuple tuple;
	bool connection;
	unsigned long nfct;
	bool attached;
	u32 uses;
	u32 calls[4];
	bool close;
	u32 closings;
};

/**
 * struct nfh_ct - the module's own connection, and calls of the module's hooks
 *
 * @lock: for one run at a time
 * @skb: the one that the hooks answer for
 * @nfct: what skb->_nfct points to, which keeps flags in its lower bits
 * @tuples: calls of get_tuple_skb
 * @attaches: calls of attach
 * @destroys: calls of destroy
 * @closings: calls of set_closing with @nfct
 */
static struct nfh_ct {
	struct mutex lock;
	const struct sk_buff *skb;
	struct nf_conntrack nfct __aligned(8);
	u32 tuples;
	u32 attaches;
	u32 destroys;
	u32 closings;
} nfh_ct = {
	.lock = __MUTEX_INITIALIZER(nfh_ct.lock),
};

/* For nfnetlink_queue, which asks whether there is a hook and not which. */
static int nfh_ct_update(struct net *net, struct sk_buff *skb)
{
	return 0;
}

static void nfh_ct_destroy(struct nf_conntrack *nfct)
{
	if (!WARN_ON_ONCE(nfct != &nfh_ct.nfct))
		nfh_ct.destroys++;
}

static bool nfh_ct_get_tuple_skb(struct nf_conntrack_tuple *tuple, const struct sk_buff *skb)
{
	if (skb != nfh_ct.skb)
		return false;
	nfh_ct.tuples++;
	memset(tuple, 0, sizeof(*tuple));
	tuple->src.u3.ip = ip_hdr(skb)->saddr;
	tuple->dst.u3.ip = ip_hdr(skb)->daddr;
	tuple->src.u.udp.port = udp_hdr(skb)->source;
	tuple->dst.u.udp.port = udp_hdr(skb)->dest;
	return true;
}

static void nfh_ct_attach(struct sk_buff *new, const struct sk_buff *skb)
{
	if (skb != nfh_ct.skb)
		return;
	nfh_ct.attaches++;
	new->_nfct = skb->_nfct;
	nf_conntrack_get(skb_nfct(new));
}

#ifdef NFH_CT_SET_CLOSING
static const bool nfh_ct_closes = true;

static void nfh_ct_set_closing(struct nf_conntrack *nfct)
{
	if (!WARN_ON_ONCE(nfct != &nfh_ct.nfct))
		nfh_ct.closings++;
}

/* A connection is closed, and none is not. */
static void nfh_ct_close(struct nf_conntrack *nfct)
{
	nf_ct_set_closing(nfct);
	nf_ct_set_closing(NULL);
}
#else
static const bool nfh_ct_closes;

static void nfh_ct_close(struct nf_conntrack *nfct)
{
}
#endif

static struct nf_ct_hook nfh_ct_hook = {
	.update = nfh_ct_update,
	.destroy = nfh_ct_destroy,
	.get_tuple_skb = nfh_ct_get_tuple_skb,
#ifndef NFH_IP_CT_ATTACH
	.attach = nfh_ct_attach,
#endif
#ifdef NFH_CT_SET_CLOSING
	.set_closing = nfh_ct_set_closing,
#endif
};

static bool nfh_ct_is_there(void)
{
#ifdef NFH_IP_CT_ATTACH
	if (rcu_access_pointer(ip_ct_attach))
		return true;
#endif
	return rcu_access_pointer(nf_ct_hook);
}

static void nfh_ct_plant(void)
{
#ifdef NFH_IP_CT_ATTACH
	rcu_assign_pointer(ip_ct_attach, nfh_ct_attach);
#endif
	rcu_assign_pointer(nf_ct_hook, &nfh_ct_hook);
}

static void nfh_ct_unplant(void)
{
#ifdef NFH_IP_CT_ATTACH
	RCU_INIT_POINTER(ip_ct_attach, NULL);
#endif
	RCU_INIT_POINTER(nf_ct_hook, NULL);
}

/* The namespace's own hooks give the first datagram a connection, if any of them tracks. */
static int nfh_ct_track(struct net *net, struct nfh_ct_run *run, struct netlink_ext_ack *extack)
{
	int ret;

	local_bh_disable();
	ret = nf_hook(NFPROTO_IPV4, NF_INET_PRE_ROUTING, net, NULL, run->skb, net->loopback_dev,
		      NULL, dst_discard_out);
	local_bh_enable();
	if (ret == 1)
		return 0;
	run->skb = NULL;
	NL_SET_ERR_MSG(extack, "a hook at PRE_ROUTING did not let the datagram pass");
	return -ECANCELED;
}

static void nfh_ct_ask(struct nfh_ct_run *run)
{
	struct nf_conntrack *nfct = skb_nfct(run->skb);

	nfh_ct.skb = run->skb;
	nfh_ct.tuples = 0;
	nfh_ct.attaches = 0;
	nfh_ct.destroys = 0;
	nfh_ct.closings = 0;
	run->found = nf_ct_get_tuple_skb(&run->tuple, run->skb);
	nf_ct_attach(run->new, run->skb);
	if (run->close)
		nfh_ct_close(nfct);
	run->closings = nfh_ct.closings;
	run->connection = nfct;
	run->nfct = run->new->_nfct;
	run->attached = run->nfct && skb_nfct(run->new) == nfct;
	run->uses = nfct ? refcount_read(&nfct->use) : 0;
	run->calls[0] = nfh_ct.tuples;
	run->calls[1] = nfh_ct.attaches;
}

static void nfh_ct_end(struct nfh_ct_run *run)
{
	/* Nobody may put the module's connection without a hook, but for an orphan's. */
	if (run->own == NFHARNESS_CT_OWN_CONNECTION)
		run->skb->_nfct = 0;
	consume_skb(run->new);
	run->calls[2] = nfh_ct.destroys;
	consume_skb(run->skb);
	if (run->own & NFHARNESS_CT_OWN_ORPHAN) {
		refcount_set(&nfh_ct.nfct.use, 1);
		nf_conntrack_put(&nfh_ct.nfct);
	}
	run->calls[3] = nfh_ct.destroys;
	run->new = NULL;
	run->skb = NULL;
	nfh_ct.skb = NULL;
}

/* While the other processors stand still: neither can nf_conntrack come, and get a
 * connection that is none of the module's, nor another packet meet the module's hooks.
 */
static int nfh_ct_run_own(void *data)
{
	struct nfh_ct_run *run = data;

	if (nfh_ct_is_there())
		return -EBUSY;
	if (run->own & NFHARNESS_CT_OWN_CONNECTION) {
		refcount_set(&nfh_ct.nfct.use, 1);
		run->skb->_nfct = (unsigned long)&nfh_ct.nfct | IP_CT_NEW;
	}
	if (run->own & NFHARNESS_CT_OWN_UNTRACKED)
		run->skb->_nfct = IP_CT_UNTRACKED;
	if (run->own & NFHARNESS_CT_OWN_HOOKS)
		nfh_ct_plant();
	nfh_ct_ask(run);
	nfh_ct_end(run);
	if (run->own & NFHARNESS_CT_OWN_HOOKS)
		nfh_ct_unplant();
	return 0;
}

static int nfh_ct_run(struct net *net, struct nfh_ct_run *run, struct netlink_ext_ack *extack)
{
	int err;

	run->skb = nfh_datagram(net, &run->flow, run->cookie);
	run->new = nfh_datagram(net, &run->flow, run->cookie);
	if (!run->skb || !run->new)
		return -ENOMEM;
	if (run->own) {
		err = stop_machine(nfh_ct_run_own, run, NULL);
		if (err == -EBUSY)
			NL_SET_ERR_MSG(extack,
				       "nf_conntrack is loaded, and its hooks are in place");
		return err;
	}
	if (run->track) {
		err = nfh_ct_track(net, run, extack);
		if (err)
			return err;
	}
	local_bh_disable();
	nfh_ct_ask(run);
	local_bh_enable();
	nfh_ct_end(run);
	return 0;
}

static int nfh_ct_put(struct sk_buff *msg, const struct nfh_ct_run *run)
{
	const struct nf_conntrack_tuple *tuple = &run->tuple;

	if (nla_put_u32(msg, NFHARNESS_A_CT_USES, run->uses) ||
	    nla_put(msg, NFHARNESS_A_CT_CALLS, sizeof(run->calls), run->calls))
		return -EMSGSIZE;
	if (run->close && nla_put_u32(msg, NFHARNESS_A_CT_CLOSINGS, run->closings))
		return -EMSGSIZE;
	if (run->connection && nla_put_flag(msg, NFHARNESS_A_CT_CONNECTION))
		return -EMSGSIZE;
	if (run->attached && nla_put_flag(msg, NFHARNESS_A_CT_ATTACHED))
		return -EMSGSIZE;
	if (run->nfct && nla_put_u32(msg, NFHARNESS_A_CT_INFO, run->nfct & NFCT_INFOMASK))
		return -EMSGSIZE;
	if (!run->found)
		return 0;
	if (nla_put_in_addr(msg, NFHARNESS_A_SADDR, tuple->src.u3.ip) ||
	    nla_put_in_addr(msg, NFHARNESS_A_DADDR, tuple->dst.u3.ip) ||
	    nla_put_be16(msg, NFHARNESS_A_SPORT, tuple->src.u.udp.port) ||
	    nla_put_be16(msg, NFHARNESS_A_DPORT, tuple->dst.u.udp.port))
		return -EMSGSIZE;
	return 0;
}

static int nfh_ct_reply(struct genl_info *info, const struct nfh_ct_run *run)
{
	struct sk_buff *msg;
	void *hdr;

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_CT_RUN);
	if (!hdr || nfh_ct_put(msg, run)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int nfh_ct_parse(struct nlattr **tb, struct nfh_ct_run *run, struct netlink_ext_ack *extack)
{
	if (!tb[NFHARNESS_A_SADDR] || !tb[NFHARNESS_A_DADDR] || !tb[NFHARNESS_A_SPORT] ||
	    !tb[NFHARNESS_A_DPORT]) {
		NL_SET_ERR_MSG(extack, "needs SADDR, DADDR, SPORT and DPORT");
		return -EINVAL;
	}
	run->flow.saddr = nla_get_in_addr(tb[NFHARNESS_A_SADDR]);
	run->flow.daddr = nla_get_in_addr(tb[NFHARNESS_A_DADDR]);
	run->flow.sport = nla_get_be16(tb[NFHARNESS_A_SPORT]);
	run->flow.dport = nla_get_be16(tb[NFHARNESS_A_DPORT]);
	run->track = nla_get_flag(tb[NFHARNESS_A_CT_TRACK]);
	run->close = nla_get_flag(tb[NFHARNESS_A_CT_CLOSE]);
	if (run->close && !nfh_ct_closes) {
		NL_SET_ERR_MSG(extack, "this kernel has no nf_ct_set_closing()");
		return -EOPNOTSUPP;
	}
	if (tb[NFHARNESS_A_COOKIE])
		run->cookie = nla_get_u64(tb[NFHARNESS_A_COOKIE]);
	if (tb[NFHARNESS_A_CT_OWN])
		run->own = nla_get_u32(tb[NFHARNESS_A_CT_OWN]);
	if (run->own & NFHARNESS_CT_OWN_ORPHAN &&
	    run->own != (NFHARNESS_CT_OWN_ORPHAN | NFHARNESS_CT_OWN_CONNECTION)) {
		NL_SET_ERR_MSG(extack,
			       "an orphan is the module's connection, without the module's hooks");
		return -EINVAL;
	}
	if (run->own & NFHARNESS_CT_OWN_ORPHAN && !READ_ONCE(nfh_ct_orphans)) {
		NL_SET_ERR_MSG(extack,
			       "an orphan stops older kernels: parameter orphans is not set");
		return -EOPNOTSUPP;
	}
	if (run->own & NFHARNESS_CT_OWN_UNTRACKED && run->own & NFHARNESS_CT_OWN_CONNECTION) {
		NL_SET_ERR_MSG(extack, "what is not tracked has no connection");
		return -EINVAL;
	}
	if (run->track && run->own) {
		NL_SET_ERR_MSG_ATTR(extack, tb[NFHARNESS_A_CT_TRACK],
				    "a tracked datagram has no connection of the module's");
		return -EINVAL;
	}
	return 0;
}

int nfh_ct_run_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_ct_run run = {};
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (!err)
		err = nfh_ct_parse(info->attrs, &run, info->extack);
	if (err)
		return err;
	mutex_lock(&nfh_ct.lock);
	err = nfh_ct_run(genl_info_net(info), &run, info->extack);
	mutex_unlock(&nfh_ct.lock);
	consume_skb(run.new);
	consume_skb(run.skb);
	return err ? err : nfh_ct_reply(info, &run);
}

#else

int nfh_ct_run_doit(struct sk_buff *skb, struct genl_info *info)
{
	NL_SET_ERR_MSG(info->extack, "the kernel is built without CONFIG_NF_CONNTRACK");
	return -EOPNOTSUPP;
}

#endif
