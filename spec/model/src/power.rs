//! Power losses: what the medium may hold then, and what a recovery makes of it.
//!
//! Of every record, state byte, footer and name that has not been synced, any subset is there.

use crate::fold::{Found, check, fold};
use crate::rules::Rule;
use crate::world::{Context, Loc, NONE, Process, Promise, Segment, World};

/// One state of the medium.
#[derive(Clone)]
pub struct Image {
    segments: Vec<SegmentImage>,
}

#[derive(Clone, Default)]
struct SegmentImage {
    is_there: bool,
    has_footer: bool,
    /// Of each record whether it is there, and whether its byte is set.
    records: Vec<(bool, bool)>,
}

/// The states of one thing on the medium.
fn options(is_sure: bool, may_be: bool) -> &'static [bool] {
    match (is_sure, may_be) {
        (true, _) => &[true],
        (false, true) => &[false, true],
        (false, false) => &[false],
    }
}

/// All states that the medium may be in. Without `all`, those of pending records are left out, which
/// no recovery tells apart.
pub fn images(world: &World, all: bool) -> Vec<Image> {
    let mut images = vec![Image { segments: Vec::new() }];
    for segment in &world.segments {
        let choices = segment_images(segment, all);
        let product = images.iter().flat_map(|image| {
            choices.iter().map(|choice| {
                let mut image = image.clone();
                image.segments.push(choice.clone());
                image
            })
        });
        images = product.collect();
    }
    images
}

fn segment_images(segment: &Segment, all: bool) -> Vec<SegmentImage> {
    let absent = SegmentImage::default();
    if segment.is_unlinked && segment.unlink_on_medium {
        return vec![absent];
    }
    let is_sure = segment.name_on_medium && !segment.is_unlinked;
    let mut images = if is_sure { Vec::new() } else { vec![absent] };
    let footers = options(segment.footer_on_medium, segment.footer.is_some());
    for &has_footer in footers {
        let mut partial = vec![SegmentImage { is_there: true, has_footer, records: Vec::new() }];
        for (at, record) in segment.records.iter().enumerate() {
            let listed = has_footer && segment.lists_published(at);
            let mut states = Vec::new();
            for &there in options(record.on_medium, true) {
                for &byte in options(record.published_on_medium, record.is_published) {
                    let state = if there { (true, byte || listed) } else { (false, listed) };
                    // Where nothing depends on it, one is like the other.
                    let state = if all || state.1 { state } else { (false, false) };
                    if !states.contains(&state) {
                        states.push(state);
                    }
                }
            }
            let product = partial.iter().flat_map(|image: &SegmentImage| {
                states.iter().map(|state| {
                    let mut image = image.clone();
                    image.records.push(*state);
                    image
                })
            });
            partial = product.collect();
        }
        images.extend(partial);
    }
    images
}

/// What a recovery finds in an image.
fn found(ctx: &Context<'_>, world: &World, image: &Image) -> Vec<Found> {
    let mut found = Vec::new();
    for (number, segment) in image.segments.iter().enumerate().filter(|(_, s)| s.is_there) {
        for (at, &(is_there, is_published)) in segment.records.iter().enumerate() {
            let listed = segment.has_footer && world.segments[number].lists_published(at);
            let is_believed = is_there || listed && !ctx.keeps(Rule::FootersVerified);
            if is_believed && is_published {
                let record = world.segments[number].records[at];
                found.push(Found { loc: Loc(number as u8, at as u8), record, is_there });
            }
        }
    }
    found
}

/// Checks every recovery from a power loss now; how many images there are.
///
/// # Errors
/// The promise that one of them breaks.
pub fn check_all(ctx: &Context<'_>, world: &World) -> Result<u64, String> {
    let images = images(world, false);
    for image in &images {
        let outcome = check(ctx, world, &fold(ctx, &found(ctx, world, image)));
        if let Err(broken) = outcome {
            ctx.note(|| format!("the power goes: {}", describe(world, image)));
            return Err(broken);
        }
    }
    Ok(images.len() as u64)
}

/// What the medium holds in one of these states, for a trace.
pub fn describe_at(world: &World, at: usize) -> String {
    describe(world, &images(world, true)[at])
}

fn describe(world: &World, image: &Image) -> String {
    let mut text = Vec::new();
    for (number, segment) in image.segments.iter().enumerate() {
        if !segment.is_there {
            text.push(format!("segment {number} is gone"));
            continue;
        }
        for (at, &(is_there, is_published)) in segment.records.iter().enumerate() {
            let record = world.segments[number].records[at];
            let state = match (is_there, is_published) {
                (true, true) => "published",
                (true, false) => "pending",
                (false, _) => "not there",
            };
            text.push(format!("{number}.{at} {record} {state}"));
        }
    }
    text.join("; ")
}

/// The worlds that begin after a power loss.
pub fn reboots(ctx: &Context<'_>, world: &World) -> Vec<World> {
    let act = world.power_losses as usize + 1;
    let Some(processes) = ctx.scenario.acts.get(act) else { return Vec::new() };
    let boot = |image: Image| {
        let segments = image.segments.iter().zip(&world.segments);
        let segments = segments.map(|(image, segment)| boot_segment(image, segment)).collect();
        let promises = world.promises.map(|promise| Promise { last: 0, ..promise });
        World {
            segments,
            tables: Default::default(),
            is_migrating: false,
            generation: 0,
            counter: 0,
            processes: processes.iter().map(|_| Process::new()).collect(),
            promises,
            collector: NONE,
            kills: world.kills,
            power_losses: act as u8,
            has_run: false,
            unburied: 0,
            instead: Default::default(),
            lasting: 0,
        }
    };
    images(world, true).into_iter().map(boot).collect()
}

fn boot_segment(image: &SegmentImage, segment: &Segment) -> Segment {
    if !image.is_there {
        let gone = Segment { is_unlinked: true, unlink_on_medium: true, ..Segment::default() };
        return Segment { owner: NONE, ..gone };
    }
    let (mut records, mut footer) = (Vec::new(), 0);
    for (at, &(is_there, is_published)) in image.records.iter().enumerate() {
        let mut record = segment.records[at];
        let listed = image.has_footer && segment.lists_published(at);
        if is_there {
            footer |= u16::from(listed) << records.len();
            record.is_published = is_published;
            (record.on_medium, record.published_on_medium) = (true, is_published);
            records.push(record);
        }
    }
    Segment {
        records,
        owner: NONE,
        footer: image.has_footer.then_some(footer),
        footer_on_medium: image.has_footer,
        name_on_medium: true,
        ..Segment::default()
    }
}
