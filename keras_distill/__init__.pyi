"""The public names, for type checkers and editors: `__init__.py` loads them on first use."""

from keras_distill import benchmarks as benchmarks
from keras_distill import compress as compress
from keras_distill import data as data
from keras_distill import losses as losses
from keras_distill import metrics as metrics
from keras_distill import models as models
from keras_distill import specialists as specialists
from keras_distill import teachers as teachers
from keras_distill._internal import InputError as InputError
from keras_distill._internal import KerasDistillWarning as KerasDistillWarning
from keras_distill._internal import MissingExtraError as MissingExtraError
from keras_distill._internal import VerificationError as VerificationError
from keras_distill._internal._elements import Targets as Targets
from keras_distill._internal._elements import TopK as TopK
from keras_distill.data import Augmentation as Augmentation
from keras_distill.export import export_tflite as export_tflite
from keras_distill.losses import AttentionTransferLoss as AttentionTransferLoss
from keras_distill.losses import DecoupledLoss as DecoupledLoss
from keras_distill.losses import DistillationLoss as DistillationLoss
from keras_distill.losses import DISTLoss as DISTLoss
from keras_distill.losses import HintLoss as HintLoss
from keras_distill.losses import JensenShannonLoss as JensenShannonLoss
from keras_distill.losses import LogitMatchingLoss as LogitMatchingLoss
from keras_distill.losses import MultiLabelSoftLoss as MultiLabelSoftLoss
from keras_distill.losses import MultiLevelLoss as MultiLevelLoss
from keras_distill.losses import RegressionLoss as RegressionLoss
from keras_distill.losses import RelationalLoss as RelationalLoss
from keras_distill.losses import ReverseKLLoss as ReverseKLLoss
from keras_distill.losses import SimilarityLoss as SimilarityLoss
from keras_distill.losses import SoftTargetLoss as SoftTargetLoss
from keras_distill.losses import StandardizedSoftTargetLoss as StandardizedSoftTargetLoss
from keras_distill.metrics import Agreement as Agreement
from keras_distill.records import ExportRecord as ExportRecord
from keras_distill.specialists import SpecialistEnsemble as SpecialistEnsemble
from keras_distill.targets import SoftTargetStore as SoftTargetStore
from keras_distill.teachers import CallableTeacher as CallableTeacher
from keras_distill.teachers import TeacherEnsemble as TeacherEnsemble
from keras_distill.teachers import TFLiteTeacher as TFLiteTeacher
from keras_distill.training import CosineSchedule as CosineSchedule
from keras_distill.training import Distiller as Distiller
from keras_distill.training import LinearSchedule as LinearSchedule
from keras_distill.training import StudentCheckpoint as StudentCheckpoint
from keras_distill.training import load as load

__version__: str
