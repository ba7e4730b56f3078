package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const group = "bakeoff.dev"

// argocd is Argo CD's own runner of scripts with ours in it. They run in the sandbox of argocd-cm, which opens fewer libraries than
// scripts have that are part of Argo CD.
type argocd struct{ vm lua.VM }

// fromFolder takes the scripts as a pull request for Argo CD has them: a folder for each kind.
func fromFolder(dir string) (argocd, error) {
	overrides := map[string]v1alpha1.ResourceOverride{}
	kinds, err := os.ReadDir(dir)
	if err != nil {
		return argocd{}, err
	}
	for _, kind := range kinds {
		at := filepath.Join(dir, kind.Name())
		script, err := os.ReadFile(filepath.Join(at, "health.lua"))
		if err != nil {
			return argocd{}, err
		}
		discovery, err := os.ReadFile(filepath.Join(at, "actions", "discovery.lua"))
		if err != nil {
			return argocd{}, err
		}
		actions := v1alpha1.ResourceActions{ActionDiscoveryLua: string(discovery)}
		files, err := filepath.Glob(filepath.Join(at, "actions", "*", "action.lua"))
		if err != nil {
			return argocd{}, err
		}
		for _, file := range files {
			action, err := os.ReadFile(file)
			if err != nil {
				return argocd{}, err
			}
			name := filepath.Base(filepath.Dir(file))
			actions.Definitions = append(actions.Definitions, v1alpha1.ResourceActionDefinition{Name: name, ActionLua: string(action)})
		}
		text, err := yaml.Marshal(actions)
		if err != nil {
			return argocd{}, err
		}
		overrides[group+"/"+kind.Name()] = v1alpha1.ResourceOverride{HealthLua: string(script), Actions: string(text)}
	}
	return argocd{lua.VM{ResourceOverrides: overrides}}, nil
}

// fromConfigMap takes them from the keys of argocd-cm, split as Argo CD splits them.
func fromConfigMap(data map[string]string) (argocd, error) {
	overrides := map[string]v1alpha1.ResourceOverride{}
	for key, text := range data {
		rest, ok := strings.CutPrefix(key, "resource.customizations.")
		what, kind, found := strings.Cut(rest, ".")
		if !ok || !found || strings.Count(kind, "_") != 1 {
			return argocd{}, fmt.Errorf("%s is no key of a customisation", key)
		}
		kind = strings.Replace(kind, "_", "/", 1)
		override := overrides[kind]
		switch what {
		case "health":
			override.HealthLua = text
		case "actions":
			override.Actions = text
		default:
			return argocd{}, fmt.Errorf("%s is no key of a health or of actions", key)
		}
		overrides[kind] = override
	}
	return argocd{lua.VM{ResourceOverrides: overrides}}, nil
}

func (a argocd) health(obj *unstructured.Unstructured) (*health.HealthStatus, error) {
	script, open, err := a.vm.GetHealthScript(obj)
	if err != nil {
		return nil, err
	}
	if script == "" || open {
		return nil, fmt.Errorf("%s has no health of ours", obj.GetKind())
	}
	return a.vm.ExecuteHealthLua(obj, script)
}

func (a argocd) actions(obj *unstructured.Unstructured) ([]v1alpha1.ResourceAction, error) {
	scripts, err := a.vm.GetResourceActionDiscovery(obj)
	if err != nil {
		return nil, err
	}
	return a.vm.ExecuteResourceActionDiscovery(obj, scripts)
}

// act does what the button does, where the button can be pressed.
func (a argocd) act(obj *unstructured.Unstructured, name string) (*unstructured.Unstructured, error) {
	actions, err := a.actions(obj)
	if err != nil {
		return nil, err
	}
	for _, action := range actions {
		if action.Name != name {
			continue
		}
		if action.Disabled {
			return nil, fmt.Errorf("%s is disabled in this state", name)
		}
		definition, err := a.vm.GetResourceAction(obj, name)
		if err != nil {
			return nil, err
		}
		impacted, err := a.vm.ExecuteResourceAction(obj, definition.ActionLua, nil)
		if err != nil {
			return nil, err
		}
		if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
			return nil, errors.New("an action changes the object that it is of, and nothing else")
		}
		return impacted[0].UnstructuredObj, nil
	}
	return nil, fmt.Errorf("%s has no action %s", obj.GetKind(), name)
}
