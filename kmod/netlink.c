// SPDX-License-Identifier: GPL-2.0-only
/* The generic netlink family: policies and commands. */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "internal.h"

/* An op without its own policy would get none at all. */
static const struct nla_policy nfh_empty_policy[NFHARNESS_A_PAD + 1];

static const struct nla_policy nfh_id_policy[NFHARNESS_A_ID + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
};

static const struct nla_policy nfh_tamper_policy[NFHARNESS_A_TAMPER + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_TAMPER] = NLA_POLICY_MAX(NLA_U32, NFHARNESS_TAMPER_HOLD),
};

static const struct nla_policy nfh_batch_add_policy[NFHARNESS_A_HOOKS + 1] = {
	[NFHARNESS_A_HOOKS] = { .type = NLA_NESTED },
};

static const struct nla_policy nfh_fail_policy[NFHARNESS_A_FAIL + 1] = {
	[NFHARNESS_A_FAIL] = { .type = NLA_U32 },
};

static const struct nla_policy nfh_memory_policy[NFHARNESS_A_SETTLE + 1] = {
	[NFHARNESS_A_SETTLE] = { .type = NLA_FLAG },
};

static const struct nla_policy nfh_together_policy[NFHARNESS_A_OTHER + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_HOOKS] = { .type = NLA_NESTED },
	[NFHARNESS_A_OTHER] = NLA_POLICY_MIN(NLA_U64, 1),
};

static const struct nla_policy nfh_point_policy[NFHARNESS_A_DEVICE_NETNS + 1] = {
	[NFHARNESS_A_PF] = { .type = NLA_U8 },
	[NFHARNESS_A_HOOKNUM] = { .type = NLA_U32 },
	[NFHARNESS_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[NFHARNESS_A_UNCHECKED] = { .type = NLA_FLAG },
	[NFHARNESS_A_DEVICE_NETNS] = { .type = NLA_S32 },
};

static int nfh_hook_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_hook *hook;
	int err;

	hook = nfh_hook_parse(skb, info->attrs, info->extack);
	if (IS_ERR(hook))
		return PTR_ERR(hook);
	err = nfh_hook_add(genl_info_net(info), hook, info->extack);
	/* INET's half in IPV4 may have been live, and have readers still. */
	if (err)
		kfree_rcu(hook, rcu);
	return err;
}

static int nfh_hook_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_hook *hook;

	mutex_lock(&nn->lock);
	hook = nfh_hook_of_request(nn, info);
	if (!IS_ERR(hook))
		nfh_hook_del(net, hook);
	mutex_unlock(&nn->lock);
	return PTR_ERR_OR_ZERO(hook);
}

static int nfh_hook_flush_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));

	nfh_hook_flush(genl_info_net(info), NULL);
	nfh_array_flush(nn);
	mutex_lock(&nn->lock);
	nn->fail = 0;
	mutex_unlock(&nn->lock);
	return 0;
}

static int nfh_hook_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	struct nfh_hook *hook;
	struct sk_buff *msg;
	void *hdr;
	int err;

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put_reply(msg, info, &nfh_family, 0, NFHARNESS_CMD_HOOK_GET);
	if (!hdr) {
		err = -EMSGSIZE;
		goto err_free;
	}
	mutex_lock(&nn->lock);
	hook = nfh_hook_of_request(nn, info);
	err = IS_ERR(hook) ? PTR_ERR(hook) : nfh_hook_put(msg, hook);
	mutex_unlock(&nn->lock);
	if (err)
		goto err_free;
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);

err_free:
	nlmsg_free(msg);
	return err;
}

static int nfh_hook_get_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	struct nfh_net *nn = nfh_net(sock_net(cb->skb->sk));
	long skip = cb->args[0], index = 0;
	struct nfh_hook *hook;
	void *hdr;
	bool full;

	if (genlmsg_len(nlmsg_data(cb->nlh))) {
		NL_SET_ERR_MSG(cb->extack, "a dump lists every hook and takes no attributes");
		return -EINVAL;
	}

	mutex_lock(&nn->lock);
	cb->seq = nn->generation;
	list_for_each_entry(hook, &nn->hooks, node) {
		if (index++ < skip)
			continue;
		hdr = genlmsg_put(msg, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &nfh_family,
				  NLM_F_MULTI, NFHARNESS_CMD_HOOK_GET);
		if (!hdr)
			break;
		if (nfh_hook_put(msg, hook)) {
			genlmsg_cancel(msg, hdr);
			break;
		}
		genl_dump_check_consistent(cb, hdr);
		genlmsg_end(msg, hdr);
		cb->args[0] = index;
	}
	full = !list_entry_is_head(hook, &nn->hooks, node);
	mutex_unlock(&nn->lock);
	return full ? msg->len : 0;
}

static const struct genl_ops nfh_genl_ops[] = {
	{
		.cmd = NFHARNESS_CMD_HOOK_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_hook_policy,
		.maxattr = ARRAY_SIZE(nfh_hook_policy) - 1,
		.doit = nfh_hook_add_doit,
	},
	{
		.cmd = NFHARNESS_CMD_HOOK_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_id_policy,
		.maxattr = ARRAY_SIZE(nfh_id_policy) - 1,
		.doit = nfh_hook_del_doit,
	},
	{
		.cmd = NFHARNESS_CMD_HOOK_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_id_policy,
		.maxattr = ARRAY_SIZE(nfh_id_policy) - 1,
		.doit = nfh_hook_get_doit,
		.dumpit = nfh_hook_get_dump,
	},
	{
		.cmd = NFHARNESS_CMD_HOOK_FLUSH,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_empty_policy,
		.maxattr = ARRAY_SIZE(nfh_empty_policy) - 1,
		.doit = nfh_hook_flush_doit,
	},
	{
		.cmd = NFHARNESS_CMD_SLOT_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_slots_policy,
		.maxattr = NFHARNESS_A_MAX,
		.dumpit = nfh_slots_dump,
		.done = nfh_slots_done,
	},
	{
		.cmd = NFHARNESS_CMD_RAW_INSERT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_raw_insert_policy,
		.maxattr = ARRAY_SIZE(nfh_raw_insert_policy) - 1,
		.doit = nfh_raw_insert_doit,
	},
	{
		.cmd = NFHARNESS_CMD_RAW_DELETE,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_raw_delete_policy,
		.maxattr = ARRAY_SIZE(nfh_raw_delete_policy) - 1,
		.doit = nfh_raw_delete_doit,
	},
	{
		.cmd = NFHARNESS_CMD_RAW_RUN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_raw_run_policy,
		.maxattr = ARRAY_SIZE(nfh_raw_run_policy) - 1,
		.doit = nfh_raw_run_doit,
	},
	{
		.cmd = NFHARNESS_CMD_BATCH_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_batch_add_policy,
		.maxattr = ARRAY_SIZE(nfh_batch_add_policy) - 1,
		.doit = nfh_batch_add_doit,
	},
	{
		.cmd = NFHARNESS_CMD_BATCH_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_id_policy,
		.maxattr = ARRAY_SIZE(nfh_id_policy) - 1,
		.doit = nfh_batch_del_doit,
	},
	{
		.cmd = NFHARNESS_CMD_HOOK_AGAIN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_id_policy,
		.maxattr = ARRAY_SIZE(nfh_id_policy) - 1,
		.doit = nfh_hook_again_doit,
	},
	{
		.cmd = NFHARNESS_CMD_HOOK_DEL_ABSENT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_point_policy,
		.maxattr = ARRAY_SIZE(nfh_point_policy) - 1,
		.doit = nfh_hook_del_absent_doit,
	},
	{
		.cmd = NFHARNESS_CMD_FAIL_NEXT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_fail_policy,
		.maxattr = ARRAY_SIZE(nfh_fail_policy) - 1,
		.doit = nfh_fail_next_doit,
	},
	{
		.cmd = NFHARNESS_CMD_CT_RUN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_ct_run_policy,
		.maxattr = ARRAY_SIZE(nfh_ct_run_policy) - 1,
		.doit = nfh_ct_run_doit,
	},
	{
		.cmd = NFHARNESS_CMD_NETNS_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_empty_policy,
		.maxattr = ARRAY_SIZE(nfh_empty_policy) - 1,
		.doit = nfh_netns_get_doit,
	},
	{
		.cmd = NFHARNESS_CMD_KEYS_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_empty_policy,
		.maxattr = ARRAY_SIZE(nfh_empty_policy) - 1,
		.doit = nfh_keys_get_doit,
	},
	{
		.cmd = NFHARNESS_CMD_TAMPER,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_tamper_policy,
		.maxattr = ARRAY_SIZE(nfh_tamper_policy) - 1,
		.doit = nfh_tamper_doit,
	},
	{
		.cmd = NFHARNESS_CMD_FAIL_NETNS,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_fail_policy,
		.maxattr = ARRAY_SIZE(nfh_fail_policy) - 1,
		.doit = nfh_fail_netns_doit,
	},
	{
		.cmd = NFHARNESS_CMD_RAW_ALTER,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_raw_alter_policy,
		.maxattr = ARRAY_SIZE(nfh_raw_alter_policy) - 1,
		.doit = nfh_raw_alter_doit,
	},
	{
		.cmd = NFHARNESS_CMD_RAW_LIST,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_raw_list_policy,
		.maxattr = ARRAY_SIZE(nfh_raw_list_policy) - 1,
		.doit = nfh_raw_list_doit,
	},
	{
		.cmd = NFHARNESS_CMD_MEMORY_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_memory_policy,
		.maxattr = ARRAY_SIZE(nfh_memory_policy) - 1,
		.doit = nfh_memory_get_doit,
	},
	{
		.cmd = NFHARNESS_CMD_TOGETHER,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = nfh_together_policy,
		.maxattr = ARRAY_SIZE(nfh_together_policy) - 1,
		.doit = nfh_together_doit,
	},
};

/* The family is in net.c, where its commands find it to answer. */
int __init nfh_netlink_register(void)
{
	nfh_family.ops = nfh_genl_ops;
	nfh_family.n_ops = ARRAY_SIZE(nfh_genl_ops);
	return genl_register_family(&nfh_family);
}
