package methods

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/arcd-io/arcd/arc"
)

// secretPrefix stands before the base64 of a secret's bytes (Standard Webhooks,
// "Signature scheme").
const secretPrefix = "whsec_"

// notification is the body of a webhook: a whole ARC request (contract, section
// 4.5), and the flat copies that receivers written for the published SDK read.
type notification struct {
	ARC    string             `json:"arc"`
	ID     string             `json:"id"`
	Method string             `json:"method"`
	From   string             `json:"requestAgent"` // who does the work
	To     string             `json:"targetAgent"`  // who asked for it
	Trace  string             `json:"traceId,omitempty"`
	Params notificationParams `json:"params"`

	notificationParams
	SubscriptionID string `json:"subscriptionId"`
}

// notificationParams are the params of task.notification, with the data as the log
// has it.
type notificationParams struct {
	TaskID string          `json:"taskId"`
	Event  arc.EventType   `json:"event"`
	At     arc.Time        `json:"timestamp"`
	Data   json.RawMessage `json:"data"`
}

// messageID names an event to a receiver: the same in every attempt, so that it can
// tell a repeated one.
func (sub *subscription) messageID(ev arc.Event) string {
	return sub.ID + "." + strconv.FormatInt(ev.Seq, 10)
}

// body encodes the message of an event.
func (sub *subscription) body(ev arc.Event) []byte {
	params := notificationParams{TaskID: sub.Thread, Event: ev.Type, At: ev.At, Data: ev.Data}
	return encode(&notification{
		ARC: arc.Version, ID: sub.messageID(ev), Method: "task.notification",
		From: sub.rec.Agent, To: sub.rec.From, Trace: sub.rec.Trace,
		Params: params, notificationParams: params, SubscriptionID: sub.ID,
	})
}

// header gives the headers of an attempt at a time. The signatures are over the
// exact bytes of body, and the timestamp is that of the attempt, so that a receiver
// can refuse old ones.
func (sub *subscription) header(ev arc.Event, body []byte, at time.Time, version string) (map[string]string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sub.rec.Secret, secretPrefix))
	if err != nil {
		return nil, fmt.Errorf("reading the secret of subscription %s: %w", sub.ID, err)
	}
	standard, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return nil, fmt.Errorf("signing for subscription %s: %w", sub.ID, err)
	}
	id, timestamp := sub.messageID(ev), strconv.FormatInt(at.Unix(), 10)
	signature, err := standard.Sign(id, at, body)
	if err != nil {
		return nil, fmt.Errorf("signing for subscription %s: %w", sub.ID, err)
	}
	header := map[string]string{
		"Content-Type": arc.MediaARC, "Accept": arc.MediaARC + ", " + arc.MediaJSON,
		"User-Agent":         strings.TrimSuffix("arcd/"+version, "/"),
		"X-ARC-Event":        string(ev.Type),
		"X-ARC-Delivery":     id,
		"X-ARC-Subscription": sub.ID,
		"X-ARC-Timestamp":    timestamp,
		"X-ARC-Signature":    arcSignature(key, timestamp, body),

		standardwebhooks.HeaderWebhookID:        id,
		standardwebhooks.HeaderWebhookTimestamp: timestamp,
		standardwebhooks.HeaderWebhookSignature: signature,
	}
	return header, nil
}

// arcSignature signs for X-ARC-Signature: "sha256=" and the HMAC-SHA256, in
// hexadecimal, of the timestamp, a dot and the body.
func arcSignature(key []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
