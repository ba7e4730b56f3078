package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

const (
	repository = "../../.."
	folder     = repository + "/charts/bakeoff/files/argocd"
)

var kinds = []string{"Experiment", "ExperimentPlan", "ExperimentSchedule"}

// What kstatus says of the objects in testdata; of all others it says Current.
var (
	inProgress = []string{
		"Experiment/unread", "Experiment/edited", "Experiment/pending",
		"ExperimentPlan/unread", "ExperimentPlan/edited",
		"ExperimentSchedule/unread", "ExperimentSchedule/edited",
	}
	failed = []string{
		"Experiment/failed", "Experiment/refused",
		"ExperimentPlan/failed", "ExperimentPlan/refused", "ExperimentPlan/deadline",
		"ExperimentSchedule/refused",
	}
)

// What Flux says of them by the expressions that docs/gitops.md has; of all others it says InProgress.
var (
	ended = []string{
		"Experiment/completed", "Experiment/gate-objectives-met", "Experiment/gate-objectives-none",
		"Experiment/gate-objectives-not-judged", "Experiment/gate-decision-no-go",
		"Experiment/gate-decision-inconclusive", "Experiment/gate-decision-none", "Experiment/gate-unknown",
		"ExperimentPlan/completed", "ExperimentPlan/stopped-no-go", "ExperimentPlan/gate-unknown",
		"ExperimentPlan/gate-decision-go", "ExperimentPlan/gate-decision-no-go",
		"ExperimentPlan/gate-decision-inconclusive", "ExperimentPlan/gate-decision-none",
	}
	endedBadly = []string{
		"Experiment/completed-no-go", "Experiment/cancelled", "Experiment/failed", "Experiment/refused",
		"Experiment/gate-cancelled", "Experiment/gate-objectives-missed", "Experiment/gate-decision-go",
		"ExperimentPlan/cancelled", "ExperimentPlan/failed", "ExperimentPlan/deadline", "ExperimentPlan/refused",
		"ExperimentPlan/gate-cancelled",
	}
)

func load(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := read(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return obj
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// objects goes through the objects of testdata, named Kind/name.
func objects(t *testing.T, do func(t *testing.T, name string, obj *unstructured.Unstructured)) {
	t.Helper()
	seen := 0
	for _, kind := range kinds {
		files, err := filepath.Glob(filepath.Join(folder, kind, "testdata", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			seen++
			name := kind + "/" + strings.TrimSuffix(filepath.Base(file), ".yaml")
			t.Run(name, func(t *testing.T) { do(t, name, load(t, file)) })
		}
	}
	if seen < 50 {
		t.Errorf("%d objects", seen)
	}
}

// exist fails where a list names an object that is not there.
func exist(t *testing.T, lists ...[]string) {
	t.Helper()
	for _, name := range slices.Concat(lists...) {
		kind, file, _ := strings.Cut(name, "/")
		if _, err := os.Stat(filepath.Join(folder, kind, "testdata", file+".yaml")); err != nil {
			t.Error(err)
		}
	}
}

// sources are the scripts as files, and as the chart renders them where dev/test says what it rendered.
func sources(t *testing.T) map[string]argocd {
	t.Helper()
	files, err := fromFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]argocd{"files": files}
	if rendered := os.Getenv("BAKEOFF_ARGOCD"); rendered != "" {
		data, _, err := unstructured.NestedStringMap(load(t, rendered).Object, "data")
		if err != nil {
			t.Fatal(err)
		}
		if len(data) != 2*len(kinds) {
			t.Errorf("the chart renders %d keys", len(data))
		}
		if sources["chart"], err = fromConfigMap(data); err != nil {
			t.Fatal(err)
		}
	}
	return sources
}

func TestHealth(t *testing.T) {
	for source, argo := range sources(t) {
		for _, kind := range kinds {
			var tests struct {
				Tests []struct {
					InputPath    string              `json:"inputPath"`
					HealthStatus health.HealthStatus `json:"healthStatus"`
				} `json:"tests"`
			}
			parse(t, filepath.Join(folder, kind, "health_test.yaml"), &tests)
			tested := map[string]bool{}
			for _, test := range tests.Tests {
				tested[test.InputPath] = true
				t.Run(source+"/"+kind+"/"+test.InputPath, func(t *testing.T) {
					got, err := argo.health(load(t, filepath.Join(folder, kind, test.InputPath)))
					if err != nil {
						t.Fatal(err)
					}
					if *got != test.HealthStatus {
						t.Errorf("%+v, and not %+v", *got, test.HealthStatus)
					}
					// An Application is as bad as the worst that it has, and a hook fails that is Unknown.
					if got.Status == health.HealthStatusSuspended || got.Status == health.HealthStatusUnknown {
						t.Errorf("%s is never returned", got.Status)
					}
				})
			}
			files, err := os.ReadDir(filepath.Join(folder, kind, "testdata"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if !tested["testdata/"+file.Name()] {
					t.Errorf("%s: nothing tests %s", kind, file.Name())
				}
			}
		}
	}
}

func TestActions(t *testing.T) {
	for source, argo := range sources(t) {
		for _, kind := range kinds {
			dir := filepath.Join(folder, kind, "actions")
			var tests struct {
				DiscoveryTests []struct {
					InputPath string                    `json:"inputPath"`
					Result    []v1alpha1.ResourceAction `json:"result"`
				} `json:"discoveryTests"`
				ActionTests []struct {
					Action             string `json:"action"`
					InputPath          string `json:"inputPath"`
					ExpectedOutputPath string `json:"expectedOutputPath"`
				} `json:"actionTests"`
			}
			parse(t, filepath.Join(dir, "action_test.yaml"), &tests)
			for _, test := range tests.DiscoveryTests {
				t.Run(source+"/"+kind+"/"+test.InputPath, func(t *testing.T) {
					got, err := argo.actions(load(t, filepath.Join(dir, test.InputPath)))
					if err != nil {
						t.Fatal(err)
					}
					byName := func(a, b v1alpha1.ResourceAction) int { return strings.Compare(a.Name, b.Name) }
					slices.SortFunc(got, byName)
					slices.SortFunc(test.Result, byName)
					if !reflect.DeepEqual(got, test.Result) {
						t.Errorf("%+v, and not %+v", got, test.Result)
					}
				})
			}
			tested := map[string]bool{}
			for _, test := range tests.ActionTests {
				tested[test.Action] = true
				t.Run(source+"/"+kind+"/"+test.Action, func(t *testing.T) {
					got, err := argo.act(load(t, filepath.Join(dir, test.InputPath)), test.Action)
					if err != nil {
						t.Fatal(err)
					}
					want := load(t, filepath.Join(dir, test.ExpectedOutputPath))
					if text, _ := yaml.Marshal(got); !reflect.DeepEqual(text, marshal(t, want)) {
						t.Errorf("the object becomes\n%s", text)
					}
				})
			}
			scripts, err := filepath.Glob(filepath.Join(dir, "*", "action.lua"))
			if err != nil {
				t.Fatal(err)
			}
			for _, script := range scripts {
				if name := filepath.Base(filepath.Dir(script)); !tested[name] {
					t.Errorf("%s: nothing tests %s", kind, name)
				}
			}
		}
	}
}

func marshal(t *testing.T, obj any) []byte {
	t.Helper()
	text, err := yaml.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// By the code of kstatus and by the copy of it that Flux and Helm use.
func TestKstatus(t *testing.T) {
	exist(t, inProgress, failed)
	objects(t, func(t *testing.T, name string, obj *unstructured.Unstructured) {
		want := status.CurrentStatus
		if slices.Contains(inProgress, name) {
			want = status.InProgressStatus
		} else if slices.Contains(failed, name) {
			want = status.FailedStatus
		}
		got, err := status.Compute(obj)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != want {
			t.Errorf("kstatus: %s (%s), and not %s", got.Status, got.Message, want)
		}
		flux, err := fluxstatus.Compute(obj)
		if err != nil {
			t.Fatal(err)
		}
		if flux.Status.String() != want.String() {
			t.Errorf("Flux: %s (%s), and not %s", flux.Status, flux.Message, want)
		}
	})
}

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(repository + "/docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The expressions stand in the documentation, and are taken from there; more is what is added to `failed`.
func expressions(t *testing.T, more string) map[string]*cel.StatusEvaluator {
	t.Helper()
	found := map[string]*cel.StatusEvaluator{}
	for _, block := range strings.Split(documentation(t), "```") {
		block, ok := strings.CutPrefix(block, "yaml\n")
		if !ok || !strings.Contains(block, "healthCheckExprs:") {
			continue
		}
		var kustomization struct {
			Spec struct {
				HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(block), &kustomization); err != nil {
			t.Fatal(err)
		}
		for _, check := range kustomization.Spec.HealthCheckExprs {
			check.Failed += more
			evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
			if err != nil {
				t.Fatal(err)
			}
			if check.APIVersion != group+"/v1alpha1" || !slices.Contains(kinds, check.Kind) {
				t.Errorf("%s of %s", check.Kind, check.APIVersion)
			}
			found[check.Kind] = evaluator
		}
	}
	return found
}

func TestFluxWaitsForTheEnd(t *testing.T) {
	exist(t, ended, endedBadly)
	checks := expressions(t, "")
	if checks["Experiment"] == nil || checks["ExperimentPlan"] == nil {
		t.Fatalf("docs/gitops.md has expressions for %d kinds", len(checks))
	}
	objects(t, func(t *testing.T, name string, obj *unstructured.Unstructured) {
		check, ok := checks[obj.GetKind()]
		if !ok || strings.HasSuffix(name, "/no-status") {
			return
		}
		want := fluxstatus.InProgressStatus
		if slices.Contains(ended, name) {
			want = fluxstatus.CurrentStatus
		} else if slices.Contains(endedBadly, name) {
			want = fluxstatus.FailedStatus
		}
		got, err := check.Evaluate(context.Background(), obj)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != want {
			t.Errorf("%s, and not %s", got.Status, want)
		}
	})
}

func TestFluxTakesADecisionForAFailureWhereAsked(t *testing.T) {
	_, rest, _ := strings.Cut(documentation(t), "; add `")
	more, _, found := strings.Cut(rest, "` to `failed`")
	if !found {
		t.Fatal("docs/gitops.md does not say what is to be added")
	}
	check := expressions(t, " "+more)["Experiment"]
	for name, want := range map[string]fluxstatus.Status{
		"completed":                  fluxstatus.CurrentStatus,
		"gate-decision-none":         fluxstatus.CurrentStatus,
		"gate-decision-no-go":        fluxstatus.FailedStatus,
		"gate-decision-inconclusive": fluxstatus.FailedStatus,
		"running":                    fluxstatus.InProgressStatus,
	} {
		got, err := check.Evaluate(context.Background(), load(t, filepath.Join(folder, "Experiment", "testdata", name+".yaml")))
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != want {
			t.Errorf("%s: %s, and not %s", name, got.Status, want)
		}
	}
}

// definition is what the API server holds objects of a kind against.
func definition(t *testing.T, kind string) (*schema.Structural, validation.SchemaValidator) {
	t.Helper()
	var crd v1.CustomResourceDefinition
	parse(t, repository+"/crds/"+strings.ToLower(kind)+"s."+group+".yaml", &crd)
	internal := &apiextensions.JSONSchemaProps{}
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, internal, nil); err != nil {
		t.Fatal(err)
	}
	structural, err := schema.NewStructural(internal)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(internal)
	if err != nil {
		t.Fatal(err)
	}
	return structural, validator
}

// Objects that no API server would hand out would test nothing.
func TestObjectsAreOfTheDefinitions(t *testing.T) {
	for _, kind := range kinds {
		structural, validator := definition(t, kind)
		var files []string
		for _, pattern := range []string{"testdata/*.yaml", "actions/testdata/*.yaml"} {
			found, err := filepath.Glob(filepath.Join(folder, kind, pattern))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, found...)
		}
		for _, file := range files {
			t.Run(kind+"/"+filepath.Base(file), func(t *testing.T) {
				obj := load(t, file)
				options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
				if unknown := pruning.PruneWithOptions(runtime.DeepCopyJSON(obj.Object), structural, true, options); len(unknown) > 0 {
					t.Errorf("unknown fields: %v", unknown)
				}
				defaulting.Default(obj.Object, structural)
				for _, problem := range validation.ValidateCustomResource(nil, obj.Object, validator) {
					t.Error(problem)
				}
			})
		}
	}
}

// kstatus takes an object without a status for one that is done: until the operator has read it the default of the definition
// says that it has not.
func TestAnUnreadObjectIsInProgress(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			structural, _ := definition(t, kind)
			obj := load(t, filepath.Join(folder, kind, "testdata", "no-status.yaml"))
			defaulting.Default(obj.Object, structural)
			got, err := status.Compute(obj)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != status.InProgressStatus {
				t.Errorf("%s (%s)", got.Status, got.Message)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	at := func(name string) string { return filepath.Join(folder, "Experiment", "testdata", name+".yaml") }
	for _, test := range []struct{ args, object, out, err string }{
		{"kstatus", "running", "Current\tResource is current\n", ""},
		{"argocd health " + folder, "cancelled", "Healthy\tCancelled: cancelled by spec.cancel (somebody wanted it)\n", ""},
		{"argocd action " + folder + " cancel", "running", "cancel: true", ""},
		{"argocd action " + folder + " resume", "running", "", "resume is disabled in this state"},
		{"argocd action " + folder + " run-now", "running", "", "Experiment has no action run-now"},
		{"help", "running", "usage: gitops kstatus", ""},
		{"nonsense", "running", "", "unknown command"},
	} {
		t.Run(test.args, func(t *testing.T) {
			in, err := os.Open(at(test.object))
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			var out bytes.Buffer
			err = run(strings.Fields(test.args), in, &out)
			if !strings.Contains(out.String(), test.out) {
				t.Errorf("printed %q", out.String())
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("failed with %v", err)
			}
		})
	}
}
