package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/collect"
)

// Client looks after a cache that runs, through the socket in its folder. It has
// the methods of a Keeper that people call.
type Client struct {
	http *http.Client
}

// Dial finds the process that serves a folder. Missing when there is none.
func Dial(ctx context.Context, socket string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	c, err := dial(ctx, "", "")
	if err != nil {
		return nil, fault.Wrap(fault.Missing, err)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}}, c.Close()
}

// Close ends the connection.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Status asks for the cache's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "status")
}

// Check is Collector.Check.
func (c *Client) Check(ctx context.Context) (collect.CheckReport, error) {
	return ask[collect.CheckReport](ctx, c, http.MethodGet, "check")
}

// CollectNow is Keeper.CollectNow.
func (c *Client) CollectNow(ctx context.Context, dryRun bool) (collect.GarbageReport, error) {
	return ask[collect.GarbageReport](ctx, c, http.MethodPost, fmt.Sprintf("gc?dryRun=%t", dryRun))
}

// RetainNow is Keeper.RetainNow.
func (c *Client) RetainNow(ctx context.Context, dryRun bool) (collect.RetentionReport, error) {
	return ask[collect.RetentionReport](ctx, c, http.MethodPost, fmt.Sprintf("retention?dryRun=%t", dryRun))
}

// ScrubNow is Keeper.ScrubNow.
func (c *Client) ScrubNow(ctx context.Context, dryRun bool) (collect.ScrubReport, error) {
	return ask[collect.ScrubReport](ctx, c, http.MethodPost, fmt.Sprintf("scrub?dryRun=%t", dryRun))
}

func ask[T any](ctx context.Context, c *Client, method, what string) (answer T, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://registry/api/v1/"+what, nil)
	if err != nil {
		return answer, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer, fault.Wrap(fault.Transient, err)
	}
	defer func() { _ = resp.Body.Close() }() // all of it was read
	decoder := json.NewDecoder(resp.Body)
	if resp.StatusCode == http.StatusOK {
		return answer, decoder.Decode(&answer)
	}
	var problem Problem
	if err := decoder.Decode(&problem); err != nil {
		return answer, fmt.Errorf("the image cache answered %s: %w", resp.Status, err)
	}
	return answer, fault.New(fault.Internal, "the image cache answered %s: %s", resp.Status, problem.Error)
}
