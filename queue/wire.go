package queue

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/messages"
)

func replays(h messages.Header) int {
	n, err := strconv.Atoi(h.Get(messages.HeaderReplays))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// original is a message's headers without those that were for the server
// when it was published.
func original(h nats.Header) messages.Header {
	kept := messages.Header{}
	for name, values := range h {
		if !strings.HasPrefix(name, "Nats-") && name != headerPast {
			kept[name] = values
		}
	}
	return kept
}

// loadHeader is what a load is published with.
func loadHeader(load *messages.Load) (messages.Header, error) {
	text, err := messages.EncodeLoad(load)
	if err != nil {
		return nil, err
	}
	h := messages.Header{}
	h.Set(messages.HeaderVersion, strconv.Itoa(messages.Version))
	h.Set(messages.HeaderLoad, text)
	return h, nil
}

// parseLoad reads a load and checks that it is where it belongs.
func parseLoad(subject string, h messages.Header) (*messages.Load, error) {
	text := h.Get(messages.HeaderLoad)
	if text == "" {
		return nil, errors.New("decode load: no header " + messages.HeaderLoad)
	}
	load, err := messages.ParseLoad(text)
	if err != nil {
		return nil, err
	}
	at := *load
	if lane, _, _, _ := loadOrigin(subject); lane == messages.Parked {
		at.Lane = lane
	}
	if at := messages.LoadSubject(&at); at != subject {
		return nil, fmt.Errorf("decode load: it belongs on %s, not on %s", at, subject)
	}
	return load, nil
}

// loadOrigin takes a load's subject apart.
func loadOrigin(subject string) (lane messages.Lane, destination, extraction, id string) {
	t := strings.Split(subject, ".")
	if len(t) != 5 {
		return "", "", "", subject
	}
	return messages.Lane(t[1]), untoken(t[2]), untoken(t[3]), untoken(t[4])
}

// untoken undoes messages.Token; what is no token stays as it is.
func untoken(token string) string {
	if token == "%" {
		return ""
	}
	if name, err := url.PathUnescape(token); err == nil {
		return name
	}
	return token
}
