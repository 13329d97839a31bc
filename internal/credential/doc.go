// Package credential keeps what the command line needs to be let in: named
// servers ([ContextFile]) and credentials ([Store]), and finds, renews, makes
// and deletes the credential of one call. It never prints, asks or exits.
//
// The rules are those of the command line's contract: precedence in section
// 4.3, expiry in 2.5, the closed loop of a refresh in 2.6.
//
// One instance of the program has one folder ([FindFolders]) and in it:
//
//	credentials.json       credentials, what succeeds what, clocks of servers
//	credentials.json.lock  held for the time of one change
//	refresh-HASH.lock      held for the time of one token request
//
// A call goes this way:
//
//	folders, err := credential.FindFolders(environ, instance)
//	contexts, err := credential.ContextFile{Folder: folders.Config}.Load()
//	store := &credential.Store{Folder: folders.State, Environ: environ, Stdin: stdin}
//	target := credential.Target{Server: url, Context: name, Token: origin, TokenURL: …}
//	found, err := store.Resolve(ctx, target)     // ErrNone: *NoneError tells what is mintable
//	if found.ExpiredAt(time.Now()) { … }         // contract 2.5 row 2: no call is needed to know
//	if found.Superseded != "" { … }              // warning ENV_TOKEN_SUPERSEDED
//	source := &credential.Source{Store: store, Target: target, Auto: autoRefresh}
//	c := &client.Client{URL: url, Token: source}
//	…
//	store.NoteDate(ctx, url, date)               // from the header Date of an answer
//	store.MarkExpired(ctx, found.Token)          // when the server said expired
//
// The other functions stand behind "arcd auth": [Store.Refresh],
// [Store.LoginClient], [Store.LoginRefreshToken], [Store.LoginToken],
// [Store.StartDevice], [Store.PollDevice], [Store.LoginAdmin], [Store.Logout].
//
// Failures to tell apart with errors.Is: [ErrNone], [ErrLocked], [ErrDamaged],
// [ErrExposed], [ErrNoFolder], [ErrSecretInArgv], [ErrUnreadable],
// [ErrRejected], [ErrNotRefreshable], [ErrOtherIdentity], [ErrHidden],
// [ErrPending], [ErrKeyring], [ErrInvalid]. What a token endpoint or the network
// did wrong stays what package client made of it.
package credential
