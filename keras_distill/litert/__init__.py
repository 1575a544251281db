"""The LiteRT interpreter, isolated execution, and what a `.tflite` file holds."""
