"""A synthetic scene mirrored at x = 0; its image is the flipped image of the scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from densepose.structures.body_parts import flipped_keypoints
from densepose.synthetic.anatomy import Anatomy
from densepose.synthetic.camera import Camera
from densepose.synthetic.person import Person
from densepose.synthetic.scene import Scene

FLIP = np.array([-1, 1, 1], np.float32)


def mirrored_scene(scene: Scene, anatomy: Anatomy) -> Scene:
    return Scene(
        people=tuple(_mirrored_person(person, anatomy) for person in scene.people),
        objects=tuple(_mirrored_thing(thing) for thing in scene.objects),
        camera=mirrored_camera(scene.camera),
        light=replace(scene.light, to_lamp=scene.light.to_lamp * FLIP),
    )


def mirrored_camera(camera: Camera) -> Camera:
    rotation = camera.rotation * FLIP * FLIP[:, None]  # of a mirrored point, image x turned round
    return replace(camera, position=camera.position * FLIP, rotation=rotation)


def _mirrored_thing(thing):
    return replace(thing, vertices=thing.vertices * FLIP, faces=thing.faces[:, ::-1])


def _mirrored_person(person: Person, anatomy: Anatomy) -> Person:
    """Left and right exchanged; clothes keep their sides."""
    template = anatomy.template
    return replace(
        person,
        skin=(person.skin * FLIP)[template.mirror_vertex],
        shell=(person.shell * FLIP)[template.mirror_vertex],
        keypoints=(person.keypoints * FLIP)[flipped_keypoints()],
        joints=(person.joints * FLIP)[template.mirror_joint],
        worn=tuple(_mirrored_thing(thing) for thing in person.worn),
    )
