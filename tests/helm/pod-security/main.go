// Reads Kubernetes manifests and judges each pod in them as an API server does for a namespace with
// the Pod Security level "restricted".
package main

import (
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

type object struct {
	Kind     string
	Metadata metav1.ObjectMeta
	Spec     struct {
		corev1.PodSpec
		Template *corev1.PodTemplateSpec
	}
}

func main() {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	check(err)
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	decoder := yaml.NewYAMLOrJSONDecoder(os.Stdin, 4096)
	pods, refused := 0, false
	for {
		var object object
		err := decoder.Decode(&object)
		if err == io.EOF {
			break
		}
		check(err)
		pod := object.Spec.Template
		if object.Kind == "Pod" {
			pod = &corev1.PodTemplateSpec{ObjectMeta: object.Metadata, Spec: object.Spec.PodSpec}
		}
		if pod == nil {
			continue
		}
		pods++
		results := evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec)
		verdict := policy.AggregateCheckResults(results)
		if !verdict.Allowed {
			refused = true
			fmt.Printf("%s %s: %s\n", object.Kind, object.Metadata.Name, verdict.ForbiddenDetail())
		}
	}
	if pods == 0 {
		check(fmt.Errorf("no pod in the manifests"))
	}
	if refused {
		os.Exit(1)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
