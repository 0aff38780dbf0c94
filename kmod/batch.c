// SPDX-License-Identifier: GPL-2.0-only
/* Batches: nf_register_net_hooks(), which registers all or none. */
#include <linux/err.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/netlink.h>

#include "internal.h"

#define NFH_BATCH_MAX 300

/**
 * struct nfh_request - a batch on its way to core
 *
 * @batch: its ops
 * @hooks: the hooks, as many as @batch->count
 */
struct nfh_request {
	struct nfh_batch *batch;
	struct nfh_hook *hooks[NFH_BATCH_MAX];
};

/* Core may have had them registered for a moment. */
static void nfh_request_free(struct nfh_request *request)
{
	u32 i;

	for (i = 0; i < request->batch->count; i++)
		kfree_rcu(request->hooks[i], rcu);
	kfree_rcu(request->batch, rcu);
}

static int nfh_request_parse_hook(const struct sk_buff *skb, struct nlattr *attr,
				  struct nfh_request *request, struct netlink_ext_ack *extack)
{
	struct nfh_batch *batch = request->batch;
	struct nlattr *tb[NFHARNESS_A_TIMES + 1];
	struct nfh_hook *hook;
	u32 i;
	int err;

	if (batch->count == NFH_BATCH_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "more hooks than a batch may have");
		return -E2BIG;
	}
	err = nla_parse_nested(tb, NFHARNESS_A_TIMES, attr, nfh_hook_policy, extack);
	if (err)
		return err;
	hook = nfh_hook_parse(skb, tb, extack);
	if (IS_ERR(hook))
		return PTR_ERR(hook);
	hook->batch = batch;
	for (i = 0; i < batch->count; i++) {
		if (request->hooks[i]->id != hook->id)
			continue;
		NL_SET_ERR_MSG_ATTR(extack, attr, "two hooks of the batch have this ID");
		kfree(hook);
		return -EEXIST;
	}
	request->hooks[batch->count++] = hook;
	return 0;
}

/* Callers hold RTNL and the namespace's lock. */
static int nfh_request_register(struct net *net, struct nfh_request *request,
				struct netlink_ext_ack *extack)
{
	struct nfh_batch *batch = request->batch;
	struct nfh_net *nn = nfh_net(net);
	u32 i;
	int err;

	for (i = 0; i < batch->count; i++) {
		struct nfh_hook *hook = request->hooks[i];

		if (nfh_hook_find(nn, hook->id)) {
			NL_SET_ERR_MSG(extack, "the namespace has a hook with this ID already");
			return -EEXIST;
		}
		if (hook->point.ifindex && nfh_point_has_device(&hook->point)) {
			hook->ops->dev = nfh_point_device(net, &hook->point);
			if (!hook->ops->dev) {
				NL_SET_ERR_MSG(extack, "the namespace has no device of an IFINDEX");
				return -ENODEV;
			}
		}
		batch->ops[i] = *hook->ops;
		hook->ops = &batch->ops[i];
	}
	nfh_fault_begin(nn);
	err = nf_register_net_hooks(net, batch->ops, batch->count);
	nfh_fault_end(nn);
	if (err) {
		NL_SET_ERR_MSG(extack, "nf_register_net_hooks refused the batch");
		return err;
	}
	batch->left = batch->count;
	for (i = 0; i < batch->count; i++)
		nfh_hook_list(nn, request->hooks[i]);
	return 0;
}

int nfh_batch_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_request *request;
	struct nlattr *attr;
	int rem, err = 0;

	if (!info->attrs[NFHARNESS_A_HOOKS]) {
		NL_SET_ERR_MSG(info->extack, "attribute HOOKS is missing");
		return -EINVAL;
	}
	request = kzalloc(sizeof(*request), GFP_KERNEL);
	if (!request)
		return -ENOMEM;
	request->batch =
		kzalloc(struct_size(request->batch, ops, NFH_BATCH_MAX), GFP_KERNEL_ACCOUNT);
	if (!request->batch) {
		kfree(request);
		return -ENOMEM;
	}
	nla_for_each_nested(attr, info->attrs[NFHARNESS_A_HOOKS], rem) {
		err = nfh_request_parse_hook(skb, attr, request, info->extack);
		if (err)
			break;
	}
	if (!err) {
		rtnl_lock();
		mutex_lock(&nn->lock);
		err = nfh_request_register(net, request, info->extack);
		mutex_unlock(&nn->lock);
		rtnl_unlock();
	}
	if (err || !request->batch->count)
		nfh_request_free(request);
	kfree(request);
	return err;
}

int nfh_batch_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct nfh_net *nn = nfh_net(net);
	struct nfh_hook *hook, *next;
	struct nfh_batch *batch;
	int err = 0;

	mutex_lock(&nn->lock);
	hook = nfh_hook_of_request(nn, info);
	if (IS_ERR(hook)) {
		err = PTR_ERR(hook);
		goto out;
	}
	batch = hook->batch;
	if (!batch || batch->left != batch->count) {
		NL_SET_ERR_MSG(info->extack, "the hook came in no batch, or some of it is gone");
		err = -EINVAL;
		goto out;
	}
	list_for_each_entry(hook, &nn->hooks, node)
		if (hook->batch == batch)
			nfh_tamper_undo(nn, hook);
	nfh_fault_begin(nn);
	nf_unregister_net_hooks(net, batch->ops, batch->count);
	nfh_fault_end(nn);
	list_for_each_entry_safe(hook, next, &nn->hooks, node) {
		if (hook->batch != batch)
			continue;
		/* One registered again is at its point still. */
		while (--hook->registrations)
			nf_unregister_net_hook(net, hook->ops);
		nfh_hook_forget(nn, hook);
	}
out:
	mutex_unlock(&nn->lock);
	return err;
}
