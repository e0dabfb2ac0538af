// Command compose prints what Docker Compose passes to the services of the project in the working
// directory, in JSON. It loads the project with the library of Docker Compose, including .env.
//
//	compose FILE...
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

// service is what a container is started with.
type service struct {
	Command     []string          `json:"command"`
	Environment map[string]string `json:"environment"`
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compose:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, files []string) error {
	options, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory("."), cli.WithOsEnv, cli.WithEnvFiles(), cli.WithDotEnv)
	if err != nil {
		return err
	}

	project, err := options.LoadProject(ctx)
	if err != nil {
		return err
	}
	project, err = project.WithServicesEnvironmentResolved(true)
	if err != nil {
		return err
	}

	services := map[string]service{}
	for name, s := range project.Services {
		environment := map[string]string{}
		for variable, value := range s.Environment {
			if value != nil {
				environment[variable] = *value
			}
		}
		services[name] = service{Command: s.Command, Environment: environment}
	}

	return json.NewEncoder(os.Stdout).Encode(services)
}
