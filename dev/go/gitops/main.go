// What Flux and Argo CD make of an object, by their own code.
package main

import (
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

const usage = `usage: gitops kstatus <object.yaml             Current, InProgress or Failed, and why
       gitops argocd health DIR <object.yaml   the health, and why
       gitops argocd action DIR NAME <object.yaml
                                               the object after the action

DIR holds a folder for each kind: charts/bakeoff/files/argocd.
`

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "kstatus":
		obj, err := read(in)
		if err != nil {
			return err
		}
		result, err := status.Compute(obj)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\t%s\n", result.Status, result.Message)
		return err
	case len(args) == 3 && args[0] == "argocd" && args[1] == "health":
		obj, err := read(in)
		if err != nil {
			return err
		}
		argo, err := fromFolder(args[2])
		if err != nil {
			return err
		}
		health, err := argo.health(obj)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\t%s\n", health.Status, health.Message)
		return err
	case len(args) == 4 && args[0] == "argocd" && args[1] == "action":
		obj, err := read(in)
		if err != nil {
			return err
		}
		argo, err := fromFolder(args[2])
		if err != nil {
			return err
		}
		changed, err := argo.act(obj, args[3])
		if err != nil {
			return err
		}
		text, err := yaml.Marshal(changed.Object)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	case len(args) == 0, args[0] == "help", args[0] == "-h", args[0] == "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	return fmt.Errorf("unknown command\n%s", usage)
}

// read takes an object as the API server would send it: whole numbers are int64.
func read(in io.Reader) (*unstructured.Unstructured, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	text, err = yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{}
	return obj, obj.UnmarshalJSON(text)
}
