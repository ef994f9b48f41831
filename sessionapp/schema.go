package sessionapp

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
)

// SchemaModule is a [StoreModule] whose store has tables that somebody else may have
// to make before Caddy uses them.
type SchemaModule interface {
	// Schema returns the statements that make the tables, and that give the user whom
	// Caddy connects as the rights that are enough. The module is as it was unmarshaled
	// and not provisioned: who asks need not know any secret, and gets none.
	Schema() (string, error)
}

// StoreSchema is what a store needs to be made.
type StoreSchema struct {
	Store  string `json:"store"` // the name of its module
	Schema string `json:"schema,omitempty"`
}

// Schemas returns that of the store of a configuration, which has an empty one if
// nothing has to be made; without a configuration, those of all stores that have one,
// as they are without settings.
func Schemas(config []byte) ([]StoreSchema, error) {
	if len(config) == 0 {
		return defaultSchemas()
	}
	var cfg struct {
		Apps struct {
			Session struct {
				Store json.RawMessage `json:"store"`
			} `json:"session"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &cfg); err != nil {
		return nil, fmt.Errorf("decoding config: %w", err)
	}
	raw := cfg.Apps.Session.Store
	store := struct{ Module string }{defaultStore}
	if raw == nil {
		return []StoreSchema{{Store: store.Module}}, nil
	}
	if err := json.Unmarshal(raw, &store); err != nil {
		return nil, fmt.Errorf("decoding store: %w", err)
	}
	info, err := caddy.GetModule("session.stores." + store.Module)
	if err != nil {
		return nil, fmt.Errorf("loading store (stores that are not here: %s): %w", ownStores, err)
	}
	found, _, err := schemaOf(info, raw)
	return []StoreSchema{found}, err
}

func defaultSchemas() (all []StoreSchema, err error) {
	for _, info := range caddy.GetModules("session.stores") {
		found, has, err := schemaOf(info, json.RawMessage("{}"))
		if err != nil {
			return nil, err
		}
		if has {
			all = append(all, found)
		}
	}
	return all, nil
}

// schemaOf returns the schema of a store, and whether it has one.
func schemaOf(info caddy.ModuleInfo, raw json.RawMessage) (found StoreSchema, has bool, err error) {
	found.Store = info.ID.Name()
	module := info.New()
	if err := json.Unmarshal(raw, module); err != nil {
		return found, false, fmt.Errorf("decoding store %s: %w", found.Store, err)
	}
	of, has := module.(SchemaModule)
	if has {
		found.Schema, err = of.Schema()
	}
	if err != nil {
		err = fmt.Errorf("store %s: %w", found.Store, err)
	}
	return found, has, err
}
