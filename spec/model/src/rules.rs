//! The rules of the protocol, each of which can be removed.

macro_rules! rules {
    ($($rule:ident $text:literal)*) => {
        /// A rule of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule { $(#[doc = $text] $rule,)* }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// What the rule says.
            pub fn text(self) -> &'static str {
                match self { $(Self::$rule => $text,)* }
            }
        }
    };
}

rules! {
    NumberAfterLoad "a number is drawn after the word was loaded"
    PublishedWhenNamed "a state byte is set after the exchange that names the record"
    LoserStaysPending "who loses an exchange leaves its record pending for ever"
    NewNumberWhenLost "who loses an exchange begins again, with a new load and a new number"
    RefBeforeBlob "a ref's pending record is in the log before the blob's word is touched"
    SetterAcquits "a setter clears CONDEMNED of the blob by a successful exchange"
    HeldIsMet "a ref holds the number of the blob's record that it met"
    SetterReliesOnBlob "a setter relies on the blob's record before it exchanges the ref"
    RelierSetsByte "who relies on a record sets its state byte"
    RelierSyncs "who relies on a record under Synced makes it last"
    RelierReliesOnBlob "who relies on a ref relies on the blob that it names"
    SecondLook "who made a foreign record last looks at the word again"
    NamesSynced "who vouches for a segment syncs the directory"
    SyncSettles "sync() sets the state bytes of what the index names before it syncs"
    SyncListsAgain "sync() lists the segments again after that"
    SyncOfEverySegment "sync() syncs every segment, not only its caller's"
    SuperseederSettled "who settles a pending record that was superseded sets the superseding one's byte"
    SealSettles "who seals sets the state bytes of the pending records that the index names"
    FootersVerified "a footer proves nothing: what it lists is verified"
    RemovalIsTombstone "a removal is a record"
    ExpiryIsTombstone "a ref that expires is removed by a tombstone"
    OneCollector "there is one collector at a time"
    InflightSeen "the collector acquits what pending refs name"
    InflightAfterCondemn "the collector lists the open segments after it has condemned"
    VoidWhenSuperseded "a pending ref acquits nothing only when its key names a record of its number or a higher one"
    ExpiredExactly "an expired ref's tombstone takes the place of exactly the version that was seen"
    WalkAcquits "the collector acquits what live refs name"
    WalkSeesGrowth "the collector's walk sees what a growth has moved"
    SweepExact "a sweep exchanges the word from exactly live and condemned"
    SweepWithoutTombstone "a sweep writes no tombstone"
    VictimsSealed "victims are sealed segments"
    TombsCopied "tombstones that the index names are copied"
    RelocateExact "a copy's word moves only from the place of the original"
    ProbedBeforeUnlink "a victim is unlinked only when the index names nothing in it"
    SyncBeforeUnlink "what superseded a victim's garbage lasts before the victim is unlinked"
    UnlinkSettles "the sync before the unlink sets state bytes, also for the dead"
    TombAlone "a tombstone is dropped only when no other record of its key is left"
    TombStillCondemned "a blob's tombstone is dropped only while no ref names the blob"
    TombsUnderOwnWalk "a collector drops blobs' tombstones only after a walk of its own: the flags of a dead one prove nothing"
    PassedOver "a version of a ref whose blob did not survive is passed over"
    TombsCountForRefs "a blob's tombstone counts as a record that a ref can rely on"
    PassedOverBuried "what was passed over is buried"
    BuriedBeforeAppends "whoever enters a run buries what it passed over before it appends anything else"
    BurialLasts "a burial lasts before whoever buries appends anything else"
    BuriedUnderRun "a recoverer appends nothing before its run has its name"
    SealedUnderRun "a recoverer seals nothing before its run has its name"
}
