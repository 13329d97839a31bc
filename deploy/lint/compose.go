package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// lintCompose has Compose's own loader read the file, strictly, and checks what comes
// out.
func lintCompose(folder string) error {
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, "compose.yaml")})
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	config, err := os.ReadFile(filepath.Join(folder, "arcd.yaml"))
	if err != nil {
		return err
	}
	var s settings
	if err := yaml.Unmarshal(config, &s); err != nil {
		return fmt.Errorf("compose: arcd.yaml: %w", err)
	}
	proxy, err := os.ReadFile(filepath.Join(folder, "haproxy.cfg"))
	if err != nil {
		return err
	}
	found := []error{lintFiles(project), lintDatabase(project)}
	if !slices.Equal(s.TrustedProxies, subnets(project)) {
		found = append(found, fmt.Errorf("arcd trusts %v, and the network is %v", s.TrustedProxies, subnets(project)))
	}
	replicas := 0
	for name, service := range project.Services {
		if service.Image != "arcd" {
			continue
		}
		replicas++
		found = append(found, lintReplica(service, s))
		_, port, _ := strings.Cut(s.Listen, ":")
		if line := fmt.Sprintf("server %s %s:%s", name, name, port); !strings.Contains(string(proxy), line) {
			found = append(found, fmt.Errorf("the proxy does not have %q", line))
		}
		if _, ok := project.Services["proxy"].DependsOn[name]; !ok {
			found = append(found, fmt.Errorf("the proxy does not wait for %s", name))
		}
	}
	if replicas != 3 {
		found = append(found, fmt.Errorf("there are %d replicas", replicas))
	}
	if err := errors.Join(found...); err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	return nil
}

// lintReplica checks one arcd.
func lintReplica(service types.ServiceConfig, s settings) error {
	var found []error
	if service.StopGracePeriod == nil {
		found = append(found, errors.New("no time to leave is set"))
	} else if err := s.check(time.Duration(*service.StopGracePeriod)); err != nil {
		found = append(found, err)
	}
	if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		found = append(found, errors.New("it has more rights than it needs"))
	}
	if !slices.ContainsFunc(service.Secrets, func(f types.ServiceSecretConfig) bool { return "/run/secrets/"+f.Source == s.StoreFile }) {
		found = append(found, fmt.Errorf("%s is not there", s.StoreFile))
	}
	if len(service.Ports) > 0 {
		found = append(found, errors.New("it can be reached beside the proxy"))
	}
	if service.Build == nil || !isFile(filepath.Join(service.Build.Context, service.Build.Dockerfile)) {
		found = append(found, errors.New("there is no Dockerfile"))
	}
	if err := errors.Join(found...); err != nil {
		return fmt.Errorf("%s: %w", service.Name, err)
	}
	return nil
}

// lintDatabase checks that PostgreSQL is as durable as arcd insists on, and is kept.
func lintDatabase(project *types.Project) error {
	db := project.Services["db"]
	var found []error
	for _, setting := range []string{"fsync=on", "full_page_writes=on", "synchronous_commit=on"} {
		if !slices.Contains(db.Command, setting) {
			found = append(found, fmt.Errorf("db: %s is not said", setting))
		}
	}
	if len(db.Volumes) != 1 || db.Volumes[0].Target != "/var/lib/postgresql" {
		found = append(found, errors.New("db: its folder is not kept (/var/lib/postgresql, from version 18 on)"))
	}
	if db.HealthCheck == nil {
		found = append(found, errors.New("db: nobody can wait for it"))
	}
	return errors.Join(found...)
}

// lintFiles checks that the configuration files are there. Secrets are made by
// secrets.sh.
func lintFiles(project *types.Project) error {
	var found []error
	for name, c := range project.Configs {
		if !isFile(c.File) {
			found = append(found, fmt.Errorf("config %s: there is no %s", name, c.File))
		}
	}
	script, err := os.ReadFile(filepath.Join(project.WorkingDir, "secrets.sh"))
	for name, s := range project.Secrets {
		if !strings.Contains(string(script), filepath.Base(s.File)) {
			found = append(found, fmt.Errorf("secret %s: secrets.sh does not make it", name))
		}
	}
	return errors.Join(append(found, err)...)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// subnets gives the addresses of the networks.
func subnets(project *types.Project) []string {
	var all []string
	for _, n := range project.Networks {
		for _, pool := range n.Ipam.Config {
			all = append(all, pool.Subnet)
		}
	}
	return all
}
