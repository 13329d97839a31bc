package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	security "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// cluster is what the manifests make, by kind: there is one of each.
type cluster struct {
	Namespace           core.Namespace
	ServiceAccount      core.ServiceAccount
	ConfigMap           core.ConfigMap
	Secret              core.Secret
	Service             core.Service
	Deployment          apps.Deployment
	PodDisruptionBudget policy.PodDisruptionBudget
	NetworkPolicy       networking.NetworkPolicy

	// Of backup.yaml, which kustomization.yaml does not name.
	PersistentVolumeClaim core.PersistentVolumeClaim
	CronJob               batch.CronJob
}

// places gives where an object of each kind goes.
func (c *cluster) places() map[string]any {
	return map[string]any{
		"v1 Namespace": &c.Namespace, "v1 ServiceAccount": &c.ServiceAccount, "v1 ConfigMap": &c.ConfigMap, "v1 Secret": &c.Secret,
		"v1 Service": &c.Service, "apps/v1 Deployment": &c.Deployment,
		"policy/v1 PodDisruptionBudget": &c.PodDisruptionBudget, "networking.k8s.io/v1 NetworkPolicy": &c.NetworkPolicy,
		"v1 PersistentVolumeClaim": &c.PersistentVolumeClaim, "batch/v1 CronJob": &c.CronJob,
	}
}

// lintKubernetes has kustomize make the objects, reads them strictly, and checks them.
func lintKubernetes(folder string) error {
	disk := filesys.MakeFsOnDisk()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, folder)
	if err != nil {
		return fmt.Errorf("kustomize: %w", err)
	}
	documents, err := made.AsYaml()
	if err != nil {
		return err
	}
	for _, name := range []string{"secret.example.yaml", "backup.yaml"} {
		content, err := disk.ReadFile(path.Join(folder, name))
		if err != nil {
			return err
		}
		documents = slices.Concat(documents, []byte("\n---\n"), content)
	}
	var c cluster
	places := c.places()
	for document := range strings.SplitSeq(string(documents), "\n---\n") {
		var what meta.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &what); err != nil {
			return err
		}
		kind := what.APIVersion + " " + what.Kind
		into := places[kind]
		if into == nil {
			return fmt.Errorf("kubernetes: %s is unknown here, or there are two", kind)
		}
		delete(places, kind)
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			return fmt.Errorf("kubernetes: %s: %w", kind, err)
		}
	}
	if len(places) > 0 {
		return fmt.Errorf("kubernetes: there is no %s", strings.Join(slices.Sorted(maps.Keys(places)), ", "))
	}
	if err := errors.Join(c.links(), c.secure(), c.rolls(), c.files(), c.backs()); err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	return nil
}

// links checks that what means the pods and their port finds them.
func (c *cluster) links() error {
	var found []error
	pod := labels.Set(c.Deployment.Spec.Template.Labels)
	for what, selector := range map[string]*meta.LabelSelector{
		"Deployment": c.Deployment.Spec.Selector, "PodDisruptionBudget": c.PodDisruptionBudget.Spec.Selector,
		"NetworkPolicy": &c.NetworkPolicy.Spec.PodSelector, "Service": {MatchLabels: c.Service.Spec.Selector},
	} {
		if s, err := meta.LabelSelectorAsSelector(selector); err != nil || s.Empty() || !s.Matches(pod) {
			found = append(found, fmt.Errorf("%s does not select the pods (%v)", what, err))
		}
	}
	ports := c.container().Ports
	named := func(name string) bool {
		return slices.ContainsFunc(ports, func(p core.ContainerPort) bool { return p.Name == name })
	}
	probes := c.container()
	for what, name := range map[string]string{
		"Service": c.Service.Spec.Ports[0].TargetPort.StrVal, "NetworkPolicy": c.NetworkPolicy.Spec.Ingress[0].Ports[0].Port.StrVal,
		"startupProbe": probes.StartupProbe.HTTPGet.Port.StrVal, "livenessProbe": probes.LivenessProbe.HTTPGet.Port.StrVal,
		"readinessProbe": probes.ReadinessProbe.HTTPGet.Port.StrVal,
	} {
		if !named(name) {
			found = append(found, fmt.Errorf("%s: the pod has no port %q", what, name))
		}
	}
	for _, o := range []meta.ObjectMeta{c.ServiceAccount.ObjectMeta, c.ConfigMap.ObjectMeta, c.Secret.ObjectMeta, c.Service.ObjectMeta,
		c.Deployment.ObjectMeta, c.PodDisruptionBudget.ObjectMeta, c.NetworkPolicy.ObjectMeta, c.PersistentVolumeClaim.ObjectMeta, c.CronJob.ObjectMeta} {
		if o.Namespace != c.Namespace.Name {
			found = append(found, fmt.Errorf("%s is in namespace %q", o.Name, o.Namespace))
		}
	}
	return errors.Join(found...)
}

func (c *cluster) container() core.Container { return c.Deployment.Spec.Template.Spec.Containers[0] }

// secure checks the pods against the pod security standard "restricted".
func (c *cluster) secure() error {
	evaluator, err := security.NewEvaluator(security.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	var found []error
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	tells := []*bool{c.ServiceAccount.AutomountServiceAccountToken}
	for _, pod := range []core.PodTemplateSpec{c.Deployment.Spec.Template, c.CronJob.Spec.JobTemplate.Spec.Template} {
		for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				found = append(found, fmt.Errorf("restricted: %s (%s)", result.ForbiddenReason, result.ForbiddenDetail))
			}
		}
		if root := pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
			found = append(found, errors.New("the root file system can be written"))
		}
		tells = append(tells, pod.Spec.AutomountServiceAccountToken, pod.Spec.EnableServiceLinks)
	}
	if c.Namespace.Labels[api.EnforceLevelLabel] != string(api.LevelRestricted) {
		found = append(found, errors.New("the namespace does not enforce the level restricted"))
	}
	for _, tell := range tells {
		if tell == nil || *tell {
			found = append(found, errors.New("pods get a token of the cluster, or variables like ARCD_PORT, which arcd refuses"))
		}
	}
	return errors.Join(found...)
}

// rolls checks that a new version refuses no calls.
func (c *cluster) rolls() error {
	var found []error
	d := c.Deployment.Spec
	if u := d.Strategy.RollingUpdate; u == nil || u.MaxUnavailable.IntVal != 0 || u.MaxSurge.IntVal < 1 {
		found = append(found, errors.New("a new version takes pods away before there are new ones"))
	}
	if *d.Replicas < 2 {
		found = append(found, errors.New("one replica is none while it is replaced"))
	}
	if got := c.container().ReadinessProbe.HTTPGet.Path; got != "/readyz" {
		found = append(found, fmt.Errorf("the readiness probe asks %s", got))
	}
	if got := c.container().LivenessProbe.HTTPGet.Path; got != "/livez" {
		found = append(found, fmt.Errorf("the liveness probe asks %s", got))
	}
	var s settings
	if err := yaml.Unmarshal([]byte(c.ConfigMap.Data["arcd.yaml"]), &s); err != nil {
		return fmt.Errorf("arcd.yaml: %w", err)
	}
	grace := time.Duration(*d.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	return errors.Join(append(found, s.check(grace))...)
}

// files checks that the files that arcd is told of are those that it gets.
func (c *cluster) files() error {
	var found []error
	there := map[string]bool{}
	for _, m := range c.container().VolumeMounts {
		i := slices.IndexFunc(c.Deployment.Spec.Template.Spec.Volumes, func(v core.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			found = append(found, fmt.Errorf("there is no volume %s", m.Name))
			continue
		}
		switch v := c.Deployment.Spec.Template.Spec.Volumes[i]; {
		case v.ConfigMap != nil && v.ConfigMap.Name == c.ConfigMap.Name:
			for key := range c.ConfigMap.Data {
				there[path.Join(m.MountPath, key)] = true
			}
		case v.Secret != nil && v.Secret.SecretName == c.Secret.Name:
			for key := range c.Secret.StringData {
				there[path.Join(m.MountPath, key)] = true
			}
		case v.EmptyDir == nil:
			found = append(found, fmt.Errorf("volume %s is of something that is not here", m.Name))
		}
	}
	wanted := c.container().Args[2:]
	for word := range strings.FieldsSeq(c.ConfigMap.Data["arcd.yaml"]) {
		if strings.HasPrefix(word, "/run/secrets/") {
			wanted = append(wanted, word)
		}
	}
	for _, file := range wanted {
		if !there[file] {
			found = append(found, fmt.Errorf("arcd reads %s, which is not there", file))
		}
	}
	return errors.Join(found...)
}

// backs checks that the backup reads what the servers read, writes to what is kept, and
// is not taken for a server.
func (c *cluster) backs() error {
	var found []error
	pod, server := c.CronJob.Spec.JobTemplate.Spec.Template, c.Deployment.Spec.Template.Spec
	if s := labels.SelectorFromSet(c.Service.Spec.Selector); s.Matches(labels.Set(pod.Labels)) {
		found = append(found, errors.New("the Service sends calls to the backup"))
	}
	at := map[string]string{}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		at[m.Name] = m.MountPath
	}
	for _, m := range c.container().VolumeMounts {
		if m.ReadOnly && at[m.Name] != m.MountPath {
			found = append(found, fmt.Errorf("the backup does not have %s", m.MountPath))
		}
	}
	for _, v := range pod.Spec.Volumes {
		switch i := slices.IndexFunc(server.Volumes, func(o core.Volume) bool { return o.Name == v.Name }); {
		case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == c.PersistentVolumeClaim.Name:
			args := pod.Spec.Containers[0].Args
			if file := args[len(args)-1]; path.Dir(file) != at[v.Name] {
				found = append(found, fmt.Errorf("the backup is written to %s, which is not kept", file))
			}
		case i < 0 || !reflect.DeepEqual(server.Volumes[i], v):
			found = append(found, fmt.Errorf("the backup's volume %s is not that of the servers", v.Name))
		}
	}
	return errors.Join(found...)
}
