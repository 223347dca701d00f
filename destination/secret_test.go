package destination

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// P10: a secret prints nowhere, however it is held.
func TestSecretDoesNotPrint(t *testing.T) {
	secret := NewSecret(testSecret)
	s := &Settings{ID: "acme", SecretAccessKey: secret}
	type exported struct{ Secret Secret }
	type unexported struct{ secret Secret }
	held := map[string]any{
		"secret": secret, "pointer": &secret, "settings": s, "settings by value": *s, "exported field": exported{secret}, "unexported field": unexported{secret},
		"pointer to unexported field": &unexported{secret}, "list": []Secret{secret}, "map": map[string]Secret{"a": secret}, "key of a map": map[Secret]int{secret: 1},
		"any": []any{secret}, "error": fmt.Errorf("load: %v", secret), "wrapped": errors.Join(fmt.Errorf("%+v", s), fmt.Errorf("%q", secret)),
	}
	prints := func(t *testing.T, how, got string) {
		t.Helper()
		for _, part := range []string{testSecret, testSecret[:12], fmt.Sprintf("%x", testSecret), fmt.Sprintf("%X", testSecret[:8])} {
			if strings.Contains(got, part) {
				t.Errorf("%s prints the secret: %s", how, got)
			}
		}
	}
	for name, v := range held {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "% x", "%08v", "%!"} {
				prints(t, verb, fmt.Sprintf(verb, v))
			}
			if b, err := json.Marshal(v); err == nil {
				prints(t, "JSON", string(b))
			}
			if b, err := yaml.Marshal(v); err == nil {
				prints(t, "YAML", string(b))
			}
			if b, err := xml.Marshal(v); err == nil {
				prints(t, "XML", string(b))
			}
			var b bytes.Buffer
			_ = gob.NewEncoder(&b).Encode(v) // whether it can or not
			prints(t, "gob", b.String())

			b.Reset()
			slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
			slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
			prints(t, "slog", b.String())

			b.Reset()
			for _, encoder := range []zapcore.Encoder{zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())} {
				log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&b), zap.DebugLevel))
				log.Info("m", zap.Any("v", v), zap.Reflect("r", v), zap.Stringer("s", secret))
				log.Sugar().Infow("m", "v", v)
				log.Sugar().Infof("%v %+v", v, v)
			}
			prints(t, "zap", b.String())
		})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, secret); got != "[redacted]" {
			t.Errorf("%s gives %s, want [redacted]", verb, got)
		}
	}
}

func TestSecret(t *testing.T) {
	a, b, none := NewSecret("a"), NewSecret("b"), NewSecret("")
	if a.Reveal() != "a" || none.Reveal() != "" {
		t.Error("Reveal does not give the text")
	}
	if b, err := a.MarshalText(); err != nil || string(b) != "[redacted]" {
		t.Errorf("MarshalText gives %s, %v", b, err)
	}
	if !none.IsZero() || a.IsZero() || none != (Secret{}) {
		t.Error("IsZero is wrong")
	}
	if !a.Equal(NewSecret("a")) || a.Equal(b) || a.Equal(none) || a.Equal(NewSecret("aa")) || !none.Equal(Secret{}) {
		t.Error("Equal is wrong")
	}
	var into Settings
	if err := json.Unmarshal([]byte(`{"secret_access_key": "x"}`), &into); err == nil {
		t.Error("a secret is read from plain JSON past Parse and Open")
	}
}
