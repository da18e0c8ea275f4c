// Package check holds the files that others put the service into operation with, kubernetes/, compose.yaml, the Dockerfile,
// to what the service is. Its tests render and decode them with the libraries of the tools that will read them. It is a
// module of its own, so that none of those becomes a dependency of the service.
//
// It starts no container and asks no cluster.
package check
