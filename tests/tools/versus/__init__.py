"""The same stories under several inits, each as PID 1 of a namespace: what really happened, side by side."""
