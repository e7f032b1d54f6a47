"""equivariant build"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from datasets3d import (
    ArrangementLaw,
    ArticulatedMeshes,
    BuildConfig,
    BuildReport,
    JointLaw,
    Limits,
    ProceduralMeshes,
    SceneMeshes,
    ViewLaw,
    build,
    estimate,
)
from datasets3d.meshes import MeshFolder, MeshSource, ReadingLimits, Variants
from datasets3d.scenes.scene_meshes import OF
from datasets3d.views.passes.kinds import PassName, ordered_passes
from datasets3d.views.schema import PLAN
from datasets3d.views.shards.packing import Layout
from datasets3d.views.upkeep.recorded import recorded_config
from equivariant.commands.terminal import counted, duration, extent, say, size
from equivariant.commands.views.export import shard_size
from equivariant.commands.views.factor_names import FactorName, named_factors, names_of_factors
from equivariant.errors import ConventionError, DataFormatError, printable
from equivariant.runs import read_json

IGNORED_SHOWN = 10
ANY_SECONDS = 1e8


def limits(seconds: float, gib: float) -> Limits:
    """Limits of each object from the options of a command, where 0 is none.

    Args:
        seconds: Wall time.
        gib: Memory in GiB.
    """
    return Limits(seconds=seconds or None, bytes=round(gib * 2**30) or None)


def build_command(words: list[str]) -> Build:
    """Render a data set of views with known rotation, floor hue, light position and light hue.

    Args:
        words: After the verb. With ``--add``, options that are not given are those of the set.
    """
    prog = "equivariant build"
    asked = tyro.cli(Build, prog=prog, args=words)
    if not asked.add:
        return asked
    if not (asked.out / PLAN).is_file():
        raise ConventionError(
            expected="a data set that is to grow", got=f"no {PLAN}", argument=str(asked.out),
            advice="Check the path; leave out --add to build a new set.",
        )  # fmt: skip
    default = _of_set(asked)
    grown = tyro.cli(Build, prog=prog, args=words, default=default)
    return replace(grown, passes=ordered_passes((*default.passes, *grown.passes)))


def _of_set(asked: Build) -> Build:
    """The options that a set was built with; how it is built stays as asked."""
    plan = read_json(asked.out / PLAN)
    own = plan["law"]["class"] if "law" in plan else ""
    config = None if own else recorded_config(plan["config"])
    factors = None if config is None else names_of_factors(config.law.factors)
    if config is None or factors is None or config.law.path:
        raise ConventionError(
            expected="a law of this command", got=own or "one with a path or ranges of its own",
            argument=str(asked.out),
            advice="Call datasets3d.build(..., add=True) with the law that it was built with.",
        )  # fmt: skip
    source = dict(plan["source"])
    scenes = source if source["source"] == SceneMeshes.kind else {}
    if scenes:
        source = {n.removeprefix(OF): v for n, v in scenes.items() if n.startswith(OF)}
    kind = source.get("original_source", source["source"])
    if kind == "folder" and asked.meshes is None:
        raise ConventionError(
            expected="the folder or archive of mesh files, as the set was built from one",
            got="none", argument="--meshes",
            advice="Its place is not recorded: say where it is, with old files and new ones.",
        )  # fmt: skip
    variants = int(source["count"]) - 1 if source["source"] == "variants" else 0
    source = {name.removeprefix("original_"): value for name, value in source.items()}
    known = Build(asked.out)
    articulated = source["source"] == ArticulatedMeshes.kind
    return replace(
        asked,
        up=source.get("up", known.up),
        instances=source.get("instances", known.instances),
        articulated=articulated,
        joint_range=(
            (source["from_share"], source["to_share"]) if articulated else known.joint_range
        ),
        variants=variants,
        objects_per_scene=scenes.get("objects_per_scene", 0),
        scenes=scenes.get("instances", known.scenes),
        placement=scenes.get("placement", known.placement),
        factors=factors,
        views=config.views,
        size=config.size_px,
        rotation=config.law.rotation,
        angle_max_deg=math.degrees(config.law.angle_max_rad),
        angle_min_deg=math.degrees(config.law.angle_min_rad),
        field_of_view_deg=math.degrees(config.law.field_of_view_rad),
        fixed_light=config.law.spot_theta_rad == (0.0, 0.0),
        seed=config.seed,
        samples_per_side=config.samples_per_side,
        renderer=config.renderer,
        channel_order=config.channel_order,
        val_fraction=config.val_fraction,
        split_by=config.split_by,
        quality=config.quality,
        passes=config.passes,
        strict=source.get("strict", known.strict),
    )


@dataclass(frozen=True)
class Build:
    """Render a data set of views with known rotation, floor hue, light position and light hue.

    From a folder of meshes (class = folder), or from procedural objects without one. Started
    again, an interrupted build goes on, and ends with the same bytes.

    A set that is there grows with --add: `equivariant build DATA --add --views 100` adds views,
    `--add --instances 200` objects, `--add --passes depth mask` passes; a set of mesh files needs
    --meshes as well, with the files that it had and new ones. Settings that are not given are those
    of the set, what is there stays, and the bytes are those of a set that was built at once;
    pictures that are rendered again for passes are compared with those that are there.

    What a mesh cannot do is set aside and named with its reason: files that cannot be read, views
    that do not show the object, objects that crash or take longer than --object-seconds.

    Args:
        out: Folder of the data set.
        meshes: Folder of mesh files: CLASS/*.obj|glb|gltf|off|ply|stl, with train/ and test/
            sub-folders honoured, ShapeNetCore and ModelNet layouts recognized; or a zip or tar
            archive of such a folder, unpacked below --cache, or for the time of this call. Without
            it, procedural objects are made.
        up: Axis that points up in the mesh files.
        instances: Procedural objects per class, when there is no mesh folder.
        articulated: Make objects with hinges and slides instead, each view in a state of its own:
            latents go on with the state of every joint, parts_K.png says which part each pixel
            shows, mechanism.json names parts and joints.
        joint_range: Share of each joint's range that states are drawn from.
        variants: Deformed and recolored versions of each object besides the original; 0 for none.
        objects_per_scene: Show so many different objects in each view, up to 8, with occlusion,
            each in a pose of its own: latents go on with the pose of every object, instances_K.png
            says which object each pixel shows, scene.json names them. 0 shows one without more.
        scenes: How many, with --objects-per-scene; their objects are drawn from all there are.
        placement: With --objects-per-scene: on the floor, or floating. Objects never touch; on
            the floor, --rotation vertical keeps them upright.
        factors: What else varies, in its default range, as further columns of the latents, for
            example --factors translation scale: the object's place and size, the camera's orbit
            and focal length, the spot's energy, the ambient light, two more
            lights with shadows of their own (embree).
        views: Views of every object; 3DIEBench has 50.
        size: Side of the square images in pixels; 3DIEBench has 256.
        rotation: box: three Euler angles uniform in ±angle-max-deg, as in 3DIEBench. haar:
            uniform over all rotations. vertical: about the vertical axis only. cone: uniform,
            given that the object's vertical axis tilts by at most angle-max-deg. shell: box without
            the rotations of an inner box of ±angle-min-deg.
        angle_max_deg: Largest angle of box, vertical, cone and shell in degrees, up to 180.
        angle_min_deg: Angle up to which shell leaves rotations out, in degrees; 0 for the others.
        field_of_view_deg: Opening angle of the camera in degrees; smaller shows the object
            larger. 3DIEBench has 39.6.
        fixed_light: Keep the light overhead instead of drawing its position.
        seed: Of the data set, 0 or more.
        samples_per_side: Anti-aliasing: this many samples squared on each pixel at an edge.
        renderer: embree needs nothing else; pyrender and blender are extras.
        channel_order: rgb writes true colors; bgr exchanges red and blue on disk.
        val_fraction: Share of objects held out where the folder does not say, 0 to 1.
        split_by: object: a draw for each class and id. id: for each id alone, so that a mesh
            listed under two classes stays on one side.
        quality: Of the JPEG files, 1 to 100.
        passes: What is written of every view beside its picture, for example --passes depth mask;
            with any of them the camera, too. The passes faces and rgba (the object alone, with
            alpha) need the renderer embree, parts articulated objects, silhouettes (what each
            object covers without the others) scenes. Python reads them with
            datasets3d.read_pass, and `equivariant export` makes NeRF, BOP and COCO sets of them.
        workers: Processes; 0 takes every core.
        engine: local processes, or a ray cluster (extra "ray").
        shard: Which share of the objects this job renders, from 0, in a job array.
        num_shards: Jobs in the array; a last call without shards writes lists and manifest.
        add: Let the set in DATA grow to more objects, views or passes; see above.
        layout: folders: two files a view, 3DIEBench's. shards: tar files in the WebDataset
            convention with an index, as `equivariant export --format shards` makes them of the
            folders, written while objects are finished. Call again with it to go on.
        shard_images: With --layout shards: images of each; 0 takes as many as make --shard-gb.
        shard_gb: With --layout shards: about so many GB for each.
        object_seconds: Set aside objects that take longer; 0 for no limit. If not given, a mesh
            file may take two minutes of it to be read.
        object_gib: Set aside objects that need more memory than so many GiB; 0 for no limit, but
            of 8 GiB for reading a mesh file. Linux alone keeps it.
        dry_run: Render a few objects, say what is left to do, its time and size; write nothing.
        cache: Folder that keeps converted meshes and unpacked archives for later builds; none if
            not given.
        strict: Set aside meshes that are not shown as their files say (a texture is missing,
            transparency is ignored), instead of warning. The rest is built; the command ends with
            status 1 where any mesh was set aside, for this reason or another.
    """

    out: Annotated[Path, tyro.conf.Positional]
    meshes: Path | None = None
    up: Literal["x", "y", "z"] = "y"
    instances: int = 100
    articulated: bool = False
    joint_range: tuple[float, float] = (0.0, 1.0)
    variants: int = 0
    objects_per_scene: int = 0
    scenes: int = 100
    placement: Literal["floor", "floating"] = "floor"
    factors: tuple[FactorName, ...] = ()
    views: int = 50
    size: int = 128
    rotation: Literal["box", "haar", "vertical", "cone", "shell"] = "box"
    angle_max_deg: float = 90.0
    angle_min_deg: float = 0.0
    field_of_view_deg: float = math.degrees(ViewLaw().field_of_view_rad)
    fixed_light: bool = False
    seed: int = 0
    samples_per_side: int = 3
    renderer: str = "embree"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    val_fraction: float = 0.2
    split_by: Literal["object", "id"] = "object"
    quality: int = 95
    passes: tuple[PassName, ...] = ()
    workers: int = 0
    engine: Literal["local", "ray"] = "local"
    shard: int = 0
    num_shards: int = 1
    add: bool = False
    layout: Layout = "folders"
    shard_images: int = 0
    shard_gb: float = 1.0
    object_seconds: float = 3600.0
    object_gib: float = 0.0
    dry_run: bool = False
    cache: Path | None = None
    strict: bool = False

    def __call__(self) -> None:
        config, source, workers = self.config(), self.source(), self.workers or None
        if self.dry_run:
            plan = estimate(source, config=config, workers=workers, out=self.out, add=self.add)
            left = " to render" if self.out.is_dir() else ""
            say(f"{extent(plan.objects, plan.images)}{left}")
            for remark in plan.remarks:
                say(f"note: {remark}")
            say(f"about {duration(plan.seconds)} and {size(plan.bytes)}; nothing was written")
            return
        report = build(
            source, self.out, config=config, workers=workers, engine=self.engine,
            shard=self.shard, num_shards=self.num_shards, add=self.add, limits=self.limits(),
            layout=self.layout, shard_size=shard_size(self.shard_images, self.shard_gb),
        )  # fmt: skip
        self._say(report)

    def limits(self) -> Limits:
        """What each object may take."""
        return limits(self.object_seconds, self.object_gib)

    def config(self) -> BuildConfig:
        """What is rendered, and how."""
        light: tuple[float, float] = (0.0, 0.0)
        law = ViewLaw(
            rotation=self.rotation,
            angle_max_rad=math.radians(self.angle_max_deg),
            angle_min_rad=math.radians(self.angle_min_deg),
            field_of_view_rad=math.radians(self.field_of_view_deg),
            factors=named_factors(self.factors),
        )
        if self.fixed_light:
            law = replace(law, spot_theta_rad=light, spot_phi_rad=light)
        return BuildConfig(
            views=self.views,
            size_px=self.size,
            seed=self.seed,
            law=law,
            renderer=self.renderer,
            samples_per_side=self.samples_per_side,
            channel_order=self.channel_order,
            val_fraction=self.val_fraction,
            split_by=self.split_by,
            quality=self.quality,
            passes=self.passes,
        )

    def source(self) -> MeshSource:
        """Where the objects come from."""
        if not self.objects_per_scene:
            return self._of_objects()
        return SceneMeshes(
            self._of_objects(), scenes=self.scenes, objects=self.objects_per_scene,
            arrangement=ArrangementLaw(self.placement), seed=self.seed,
            val_fraction=self.val_fraction,
        )  # fmt: skip

    def _of_objects(self) -> MeshSource:
        """Where single objects come from."""
        if self.articulated:
            return self._articulated()
        self._check_archive()
        source: MeshSource = (
            ProceduralMeshes(
                instances=self.instances, seed=self.seed, val_fraction=self.val_fraction
            )
            if self.meshes is None
            else MeshFolder(
                self.meshes,
                up=self.up,
                cache=self.cache,
                strict=self.strict,
                limits=self._reading(),
            )
        )
        if self.variants:
            source = Variants(source, count=self.variants + 1, seed=self.seed)
        return source

    def _reading(self) -> ReadingLimits:
        """What reading one mesh may take: as ever, or what was asked for objects."""
        usual, whole = ReadingLimits(), Build(self.out)
        seconds, gib = self.object_seconds, self.object_gib
        return ReadingLimits(
            seconds=usual.seconds if seconds == whole.object_seconds else seconds or ANY_SECONDS,
            memory_bytes=round(gib * 2**30) or usual.memory_bytes,
        )

    def _check_archive(self) -> None:
        """Raise ConventionError where workers of a cluster would not find what is unpacked."""
        if self.engine == "ray" and self.cache is None and self.meshes and self.meshes.is_file():
            raise ConventionError(
                expected="--cache with an archive and --engine ray", got="none",
                argument="--cache", advice="Name a folder that all machines share.",
            )  # fmt: skip

    def _say(self, report: BuildReport) -> None:
        """What was done, and last of all how many objects were kept.

        Raises:
            DataFormatError: Meshes were set aside, with ``--strict``.
        """
        rate = report.rendered / max(report.seconds, 1e-9)
        say(
            f"{extent(report.objects, report.images)} in {report.path} "
            f"({report.rendered:,} rendered in {duration(report.seconds)}, {rate:.0f} per second)"
        )
        for key, notes in sorted(report.warnings.items()):
            say(f"warning: {key}: {'; '.join(notes)}")
        for key, reason in sorted(report.failed.items()):
            say(f"set aside: {key}: {reason}")
        if report.ignored:
            more = ", ..." if len(report.ignored) > IGNORED_SHOWN else ""
            names = ", ".join(map(printable, report.ignored[:IGNORED_SHOWN]))
            many = counted(len(report.ignored), "file or folder", "files and folders")
            say(f"ignored: {many}: {names}{more}")
        for remark in report.remarks:
            say(f"note: {remark}")
        say(f"kept {report.kept:,} of {counted(report.asked, 'object')}")
        if self.strict and report.failed:
            raise DataFormatError(
                expected="meshes that are shown as their files say",
                got=f"{len(report.failed):,} set aside", argument="--strict",
                advice="Each is named above with its reason; the others are in the set.",
            )  # fmt: skip

    def _articulated(self) -> MeshSource:
        """Objects with hinges and slides."""
        if self.meshes is not None or self.variants:
            raise ConventionError(
                expected="--articulated without --meshes and --variants",
                got=f"meshes {self.meshes}, variants {self.variants}",
                argument="--articulated",
                advice="Joints are known of the objects made here alone.",
            )
        return ArticulatedMeshes(
            instances=self.instances, seed=self.seed, val_fraction=self.val_fraction,
            law=JointLaw(*self.joint_range),
        )  # fmt: skip
