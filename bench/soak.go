package main

import (
	"context"
	"errors"
)

func parseSoak(arguments []string) (func(context.Context) error, error) {
	return nil, errors.New("x")
}
